const SHAPES = { ok: 'm5 12.500 4.500 4.500L19 7.500', warning: 'M12 4 2.500 20h19zM12 10v4.500m0 2.500v.1', error: 'M12 4 2.500 20h19zM12 10v4.500m0 2.500v.1' };
const MARK_NAMES = { ok: 'Works', warning: 'Needs you', error: 'Does not work' };
const SVG = 'http://www.w3.org/2000/svg';

function make(name, className, text) {
  const node = document.createElement(name);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function makeMark(kind) {
  const mark = make('span', `mark ${kind}`), svg = document.createElementNS(SVG, 'svg'), path = document.createElementNS(SVG, 'path');
  svg.setAttribute('viewBox', '0 0 24 24');
  path.setAttribute('d', SHAPES[kind]);
  mark.setAttribute('role', 'img');
  mark.setAttribute('aria-label', MARK_NAMES[kind]);
  svg.append(path);
  mark.append(svg);
  return mark;
}

function tellAge(at) {
  const seconds = Math.max(0, Math.round((Date.now() - at) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ago` : `${Math.floor(minutes / 60)} h ago`;
}

const sayNote = (row) => (row.at === null ? row.note : `${row.note} ${tellAge(row.at)}`.trim());

function makeRow(row, choose) {
  const item = document.createElement('li'), head = make('div', 'head'), names = make('div', 'names');
  const text = make('div', row.needs_reading ? 'text read' : 'text'), tail = make('div', 'tail');
  names.append(make('div', 'name', row.name));
  if (row.below) names.append(make('div', 'below', row.below));
  if (row.mark) head.append(makeMark(row.mark));
  head.append(names);
  for (const chip of row.chips) text.append(make('span', `chip ${chip.tone}`, chip.text));
  row.text.split('`').forEach((part, at) => text.append(at % 2 ? make('code', '', part) : part));
  const note = make('span', 'note', sayNote(row));
  tail.append(note);
  if (row.action) {
    const button = make('button', '', row.action);
    button.type = 'button';
    button.dataset.id = row.id;
    button.setAttribute('aria-label', `${row.action}: ${row.name}`);
    button.onclick = () => choose(row.id);
    tail.append(button);
  }
  item.append(head, text, tail);
  if (row.at !== null) item.tick = () => { note.textContent = sayNote(row); };
  return item;
}

export default function ({ parentElement: root, data, setTriggerValue }) {
  const list = root.querySelector('.listing');
  list.choose = (id) => setTriggerValue('chosen', id);
  list.setAttribute('aria-label', data.label);
  const drawn = JSON.stringify(data.rows);
  if (list.drawn !== drawn) {
    list.drawn = drawn;
    const focused = root.activeElement?.dataset?.id;
    list.replaceChildren(...data.rows.map((row) => makeRow(row, (id) => list.choose(id))));
    if (focused) list.querySelector(`button[data-id="${CSS.escape(focused)}"]`)?.focus();
  }
  list.timer ??= setInterval(() => list.childNodes.forEach((item) => item.tick?.()), 1000);
  return () => {
    clearInterval(list.timer);
    list.timer = undefined;
  };
}

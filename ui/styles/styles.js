const SVG = 'http://www.w3.org/2000/svg';
const SIZE = 27; // of the letters on a picture of 320 x 180: larger than in a video, to be seen at this size
const EM = 1 / 1.362; // of Noto Sans: a caption's size counts ascent and descent together
const WIDTH = 9.251, ASCENT = 0.76, DESCENT = 0.24; // of the sample, in ems

function svg(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function drawRoom() {
  const room = svg('svg', { viewBox: '0 0 320 180', preserveAspectRatio: 'xMidYMid slice', 'aria-hidden': 'true' });
  room.append(
    svg('rect', { width: 320, height: 180, fill: '#b9bdc4' }),
    svg('rect', { x: 206, width: 114, height: 180, fill: '#cdd1d6' }),
    svg('rect', { x: 228, y: 22, width: 62, height: 78, rx: 3, fill: '#e4e7ea' }),
    svg('rect', { x: 24, y: 64, width: 74, height: 5, rx: 2, fill: '#9298a2' }),
    svg('rect', { x: 34, y: 38, width: 9, height: 26, rx: 1, fill: '#7d8590' }),
    svg('rect', { x: 46, y: 44, width: 8, height: 20, rx: 1, fill: '#a47c5f' }),
    svg('rect', { x: 57, y: 34, width: 11, height: 30, rx: 1, fill: '#5f6b7d' }),
    svg('path', { d: 'M84 180c4-42 30-56 76-58 46 2 72 16 76 58z', fill: '#3d4657' }),
    svg('path', { d: 'M146 96h28v30c-6 10-22 10-28 0z', fill: '#c99b7d' }),
    svg('ellipse', { cx: 160, cy: 74, rx: 27, ry: 33, fill: '#dcae90' }),
    svg('path', { d: 'M132 74c-3-30 12-44 30-44s31 14 27 44c-3-14-8-22-14-25-14 5-30 3-37 0-3 5-5 12-6 25z', fill: '#3a2e28' }),
  );
  return room;
}

function drawWords(look, template) {
  const picture = template.content.firstElementChild.cloneNode(true);
  const path = picture.querySelector('path');
  const size = SIZE * look.scale, em = size * EM, base = 180 - 0.06 * 180 - DESCENT * em - (look.boxed ? size * 0.14 : 0);
  const at = (dx, dy) => `translate(${160 + dx} ${base + dy}) scale(${em / 1000})`;
  const stroke = (node, colour) => {
    node.setAttribute('stroke', colour);
    node.setAttribute('stroke-width', 2000 * look.outline / EM);
    node.setAttribute('stroke-linejoin', 'round');
  };
  const behind = look.boxed
    ? svg('rect', {
      x: 160 - WIDTH * em / 2 - look.shadow * size, width: WIDTH * em + 2 * look.shadow * size,
      y: base - ASCENT * em - look.shadow * size, height: (ASCENT + DESCENT) * em + 2 * look.shadow * size, fill: look.shade,
    })
    : path.cloneNode();
  if (!look.boxed) {
    behind.setAttribute('transform', at(look.shadow * size, look.shadow * size));
    behind.setAttribute('fill', look.shade);
    stroke(behind, look.shade);
  }
  path.setAttribute('transform', at(0, 0));
  path.setAttribute('fill', look.fill);
  path.before(behind);
  if (look.edge) {
    const edge = path.cloneNode();
    edge.setAttribute('fill', look.edge);
    stroke(edge, look.edge);
    path.before(edge);
  }
  return picture;
}

function drawFrame(poster) {
  const frame = document.createElement('span');
  frame.className = 'frame';
  frame.append(drawRoom());
  if (poster) {
    const image = new Image();
    image.alt = '';
    image.onerror = () => image.remove();
    image.src = poster;
    frame.append(image);
  }
  return frame;
}

export default function ({ parentElement: root, data, key, setStateValue }) {
  const box = root.querySelector('.styles');
  const drawn = JSON.stringify([data.poster, data.looks]);
  if (box.drawn === drawn) return;
  box.drawn = drawn;
  const chosen = box.querySelector('input:checked')?.value ?? data.chosen;
  const fields = document.createElement('fieldset'), legend = document.createElement('legend');
  const grid = document.createElement('div');
  legend.textContent = data.label;
  grid.className = 'grid';
  fields.append(legend, grid);
  for (const look of data.looks) {
    const label = document.createElement('label'), input = document.createElement('input');
    const name = document.createElement('span'), frame = drawFrame(data.poster);
    Object.assign(input, { type: 'radio', name: key, value: look.id, checked: look.id === chosen });
    input.onchange = () => setStateValue('style', look.id);
    frame.append(drawWords(look, root.querySelector('template')));
    name.className = 'name';
    name.textContent = look.name;
    label.append(input, frame, name);
    grid.append(label);
  }
  box.replaceChildren(fields);
}

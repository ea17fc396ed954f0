// Draws the rows of `Transfers` and hands it what the person does.

const ACTIVE = ['waiting', 'looking', 'sending', 'broken', 'checking'];
const HOLDS = { waiting: 'pause', looking: 'pause', sending: 'pause', broken: 'pause', paused: 'play', login: 'play', absent: 'pick' };
const HOLD_NAMES = { pause: 'Pause', play: 'Go on with', pick: 'Choose the file again:' };

function drawRow(item, row, view) {
  const one = (selector) => item.querySelector(selector);
  const say = (node, text) => {
    if (node.textContent !== text) node.textContent = text;
  };
  const hold = HOLDS[row.state] ?? '', percent = row.state === 'done' ? 100 : percentOf(row);
  item.dataset.state = row.state;
  item.dataset.hold = hold;
  say(one('.name'), row.name);
  one('.name').title = row.name;
  say(one('.size'), formatSize(row.size));
  one('.bar').setAttribute('aria-label', row.name);
  one('.bar').setAttribute('aria-valuenow', percent);
  one('.bar span').style.width = `${row.size ? (100 * row.sent) / row.size : 0}%`;
  const [strong, ...rest] = describeRow(row);
  say(one('.line strong'), strong);
  one('.line').querySelectorAll('span').forEach((node, at) => say(node, rest[at] ?? ''));
  const act = row.state === 'refused' ? nameAction(row) : row.videoId && row.state === 'done' ? 'Open it' : '';
  say(one('.act'), act);
  one('.act').onclick = () => view.act(row);
  one('.hold').hidden = !hold;
  one('.hold').setAttribute('aria-label', `${HOLD_NAMES[hold]} ${row.name}`);
  one('.hold').onclick = () => view.hold(row, hold);
  one('.end').hidden = row.state === 'checking';
  one('.end').setAttribute('aria-label', `${hold ? 'Cancel' : 'Remove'} ${row.name}`);
  one('.end').onclick = () => view.end(row, item);
}

class View {
  constructor(root) {
    this.root = root;
    this.items = new Map();
    this.said = new Map();
    this.picker = root.querySelector('input');
    this.zone = root.querySelector('.zone');
    this.onChange = () => this.later();
    this.onCompleted = (event) => this.trigger('completed', event.detail);
    root.querySelector('.choose').onclick = () => this.picker.click();
    this.picker.onchange = () => {
      this.transfers.add(this.picker.files);
      this.picker.value = '';
    };
    this.onDrag = (event) => {
      if (!event.dataTransfer?.types.includes('Files')) return;
      event.preventDefault(); // a browser would open the file instead of the page
      this.zone.classList.toggle('over', event.type === 'dragover');
      if (event.type === 'drop') this.transfers.add([...event.dataTransfer.files]);
    };
    for (const type of ['dragover', 'dragleave', 'drop']) addEventListener(type, this.onDrag);
  }

  update(data, trigger) {
    this.trigger = trigger;
    this.root.querySelector('.limits').textContent = data.sentence;
    const transfers = getTransfers(data.user);
    if (transfers !== this.transfers) {
      this.release();
      this.transfers = transfers;
      transfers.addEventListener('change', this.onChange);
      transfers.addEventListener('completed', this.onCompleted);
    }
    transfers.limits = data.limits;
    transfers.setOptions(data.options);
    if (this.open !== JSON.stringify(data.open)) {
      this.open = JSON.stringify(data.open);
      transfers.adopt(data.open);
    }
    this.draw();
  }

  release() {
    this.transfers?.removeEventListener('change', this.onChange);
    this.transfers?.removeEventListener('completed', this.onCompleted);
  }

  close() {
    this.release();
    for (const type of ['dragover', 'dragleave', 'drop']) removeEventListener(type, this.onDrag);
  }

  later() {
    this.frame ??= setTimeout(() => {
      this.frame = undefined;
      this.draw();
    }, 100);
  }

  draw() {
    const list = this.root.querySelector('.rows'), { rows } = this.transfers;
    for (const [row, item] of this.items) {
      if (rows.includes(row)) continue;
      item.remove();
      this.items.delete(row);
    }
    rows.forEach((row, at) => {
      if (!this.items.has(row)) this.items.set(row, this.root.querySelector('template').content.firstElementChild.cloneNode(true));
      const item = this.items.get(row);
      drawRow(item, row, this);
      if (list.children[at] !== item) list.insertBefore(item, list.children[at] ?? null);
      this.announce(row);
    });
    list.hidden = rows.length === 0;
    this.root.querySelector('.note').hidden = !rows.some((row) => ACTIVE.includes(row.state) || row.state === 'paused');
    this.root.querySelector('.uploader').classList.toggle('idle', !rows.some((row) => ACTIVE.includes(row.state)));
  }

  // A change of state is said aloud, not every per cent.
  announce(row) {
    const words = row.state === 'sending' ? 'Uploading' : describeRow(row).filter(Boolean).join(' ');
    if (this.said.get(row) === row.state) return;
    this.said.set(row, row.state);
    this.root.querySelector('.said').textContent = `${row.name}: ${words}`;
  }

  act(row) {
    if (row.state === 'done') this.trigger('opened', { page: 'video', id: row.videoId });
    else if (nameAction(row) === 'See usage') this.trigger('opened', { page: 'account', id: '' });
    else this.picker.click();
  }

  hold(row, what) {
    if (what === 'pause') this.transfers.pause(row);
    else if (what === 'play' && row.file) this.transfers.go(row);
    else this.picker.click();
    this.draw();
  }

  end(row, item) {
    const next = (item.nextElementSibling ?? item.previousElementSibling)?.querySelector('.end');
    this.transfers.cancel(row);
    this.draw();
    (next ?? this.root.querySelector('.choose')).focus();
  }
}

export default function ({ parentElement: root, data, setTriggerValue }) {
  const view = (root.mvfView ??= new View(root));
  view.update(data, setTriggerValue);
  return () => {
    view.close();
    delete root.mvfView;
  };
}

// Sends files in pieces. It belongs to the tab, not to the page: leaving the page stops nothing, and coming back finds
// every row as it is. What it tells the view are rows; the view draws them.

const HEADERS = { 'X-App': '1' };
const AT_ONCE = 2;
const PIECE = 8 * 1024 * 1024; // until the server says how much it takes at once
const STALLED_MS = 60_000; // without a byte moving
const LOST = 'Connection lost, trying again';

class Fault extends Error {} // may go away by itself: the network, a restart, a full server
class Refusal extends Error { // the server's last word
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

const readMessage = (text) => {
  try { return JSON.parse(text).error ?? {}; } catch { return {}; }
};

function judge(status, text) {
  const { code = '', message = '' } = readMessage(text);
  if (status === 0 || status === 408 || status === 429 || status >= 500) return new Fault(message);
  return new Refusal(status, code, message || 'This file was refused. Reload the page, then try again.');
}

async function ask(method, path, { body, signal } = {}) {
  let answer, text;
  try {
    const headers = body === undefined ? HEADERS : { ...HEADERS, 'Content-Type': 'application/json' };
    answer = await fetch(`/api/uploads${path}`, {
      method, headers, signal, cache: 'no-store', body: body === undefined ? undefined : JSON.stringify(body),
    });
    text = await answer.text();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Fault();
  }
  if (!answer.ok) {
    // A proxy or a server that is just starting answers with a page of its own, not with our words.
    const ours = text === '' ? method === 'HEAD' : text.startsWith('{');
    throw ours || answer.status === 413 ? judge(answer.status, text) : new Fault();
  }
  return { answer, data: text.startsWith('{') ? JSON.parse(text) : {} };
}

// XHR, because fetch tells nothing about the way of a body. Status 0: no answer that we may see.
function send(address, headers, body, signal, onSent) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let watch;
    const rewind = () => {
      clearTimeout(watch);
      watch = setTimeout(() => request.abort(), STALLED_MS);
    };
    const stop = () => request.abort();
    signal.addEventListener('abort', stop);
    request.open('PUT', address);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => {
      rewind();
      onSent(event.loaded);
    };
    request.onload = () => resolve({ status: request.status, text: request.responseText });
    request.onerror = () => resolve({ status: 0, text: '' });
    request.onabort = () => reject(signal.aborted ? signal.reason : new Fault());
    request.onloadend = () => {
      clearTimeout(watch);
      signal.removeEventListener('abort', stop);
    };
    rewind();
    request.send(body);
  });
}

async function put(path, body, signal, onSent) {
  const headers = { ...HEADERS, 'Content-Type': 'application/octet-stream' };
  const { status, text } = await send(`/api/uploads${path}`, headers, body, signal, onSent);
  const ours = text.startsWith('{');
  if (status >= 200 && status < 300) return ours ? JSON.parse(text) : {};
  throw ours || status === 413 ? judge(status, text) : new Fault();
}

function wait(ms, signal) {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener('online', done);
      signal.removeEventListener('abort', stop);
      resolve();
    };
    const stop = () => {
      done();
      reject(signal.reason);
    };
    const timer = setTimeout(done, ms);
    addEventListener('online', done); // the network is back: no reason to wait any longer
    signal.addEventListener('abort', stop);
  });
}

const backOff = (tries) => Math.min(15_000, 500 * 2 ** Math.min(tries, 5)) * (0.8 + 0.4 * Math.random());

// Seconds a file runs, where the browser can tell quickly; else undefined.
function readDuration(file) {
  return new Promise((resolve) => {
    const video = document.createElement('video'), address = URL.createObjectURL(file);
    const done = () => {
      clearTimeout(timer);
      const seconds = video.duration;
      video.onloadedmetadata = video.onerror = null;
      video.removeAttribute('src');
      video.load();
      URL.revokeObjectURL(address);
      resolve(Number.isFinite(seconds) && seconds > 0 ? seconds : undefined);
    };
    const timer = setTimeout(done, 1000);
    video.preload = 'metadata';
    video.muted = true;
    video.onloadedmetadata = video.onerror = done;
    video.src = address;
  });
}

const fingerprint = (file) => [file.name, file.size, file.lastModified].join(':');

class Transfers extends EventTarget {
  constructor(user) {
    super();
    Object.assign(this, { user, rows: [], options: {}, limits: {}, gone: new Set(), serial: 0, options_sent: '' });
    addEventListener('beforeunload', (event) => {
      if (this.isSending) event.preventDefault();
    });
  }

  get isSending() {
    return this.rows.some((row) => row.file && ['waiting', 'looking', 'sending', 'broken'].includes(row.state));
  }

  tell(row) {
    this.dispatchEvent(new CustomEvent('change', { detail: row }));
  }

  set(row, values) {
    Object.assign(row, values);
    this.tell(row);
  }

  // --- what the page knows ---

  // Uploads the server still holds: those without a row here were begun before a reload, or in another tab.
  adopt(open) {
    const held = new Set(open.map((one) => one.id));
    for (const row of this.rows.filter((row) => row.state === 'absent' && !held.has(row.id))) this.drop(row);
    for (const one of open) {
      if (this.gone.has(one.id) || this.rows.some((row) => row.id === one.id || row.fingerprint === one.fingerprint)) continue;
      const row = this.makeRow({ ...one, sent: one.received, state: 'absent' });
      this.rows.push(row);
      if (row.sent >= row.size) this.go(row); // every byte is there: only the last word is missing
    }
    for (const row of this.rows.filter((row) => row.state === 'login')) this.go(row);
    this.tell();
  }

  setOptions(options) {
    const text = JSON.stringify(options);
    const changed = this.options_sent !== '' && this.options_sent !== text;
    Object.assign(this, { options, options_sent: text });
    if (!changed) return;
    clearTimeout(this.options_timer);
    this.options_timer = setTimeout(() => this.rows.forEach((row) => this.sendOptions(row)), 400);
  }

  async sendOptions(row) {
    if (!row.id || ['checking', 'done', 'refused'].includes(row.state)) return;
    for (let tries = 0; tries < 5; tries += 1) {
      try {
        await ask('POST', `/${row.id}/options`, { body: { options: this.options } });
        return;
      } catch (error) {
        if (!(error instanceof Fault)) return; // meanwhile it arrived, or is gone
        await wait(backOff(tries), new AbortController().signal);
      }
    }
  }

  // --- what the person does ---

  add(files) {
    for (const file of files) {
      const mark = fingerprint(file);
      const known = this.rows.find((row) => row.fingerprint === mark && !['done', 'refused'].includes(row.state));
      const row = known ?? this.makeRow({ name: file.name, size: file.size, fingerprint: mark });
      if (!known) this.rows.push(row);
      row.file = file;
      const refusal = known ? undefined : judgeFile(row, this.limits, undefined);
      if (refusal) this.fail(row, refusal);
      else if (!known || ['absent', 'paused', 'login'].includes(row.state)) this.go(row);
    }
  }

  makeRow(values) {
    this.serial += 1;
    return { key: this.serial, id: null, sent: 0, received: 0, file: null, text: '', action: '', state: 'waiting', speed: 0, ...values };
  }

  pause(row) {
    row.stop?.abort(new DOMException('paused', 'AbortError'));
    this.set(row, { state: 'paused', speed: 0, text: '' });
    this.pump();
  }

  go(row) {
    this.set(row, { state: 'waiting', text: '', action: '', speed: 0 });
    this.pump();
  }

  drop(row) {
    row.stop?.abort(new DOMException('dropped', 'AbortError'));
    row.dropped = true;
    if (row.id) this.gone.add(row.id);
    this.rows = this.rows.filter((other) => other !== row);
    this.tell(row);
    this.pump();
  }

  async cancel(row) {
    this.drop(row);
    if (row.id && !['done', 'refused'].includes(row.state)) await this.forget(row.id);
  }

  async forget(id) {
    this.gone.add(id);
    for (let tries = 0; tries < 8; tries += 1) {
      try {
        await ask('DELETE', `/${id}`);
        return;
      } catch (error) {
        if (!(error instanceof Fault)) return;
        await wait(backOff(tries), new AbortController().signal);
      }
    }
  }

  // --- the way of one file ---

  pump() {
    const busy = this.rows.filter((row) => ['looking', 'sending', 'broken'].includes(row.state)).length;
    const waiting = this.rows.filter((row) => row.state === 'waiting');
    for (const row of waiting.slice(0, Math.max(0, AT_ONCE - busy))) this.run(row);
  }

  async run(row) {
    row.stop = new AbortController();
    const { signal } = row.stop;
    this.set(row, { state: 'looking', text: '', sample: null });
    try {
      if (row.file && !row.id) await this.look(row, signal);
      if (row.file || row.sent >= row.size) await this.deliver(row, signal);
      else this.set(row, { state: 'absent' });
    } catch (error) {
      if (!signal.aborted) this.fail(row, error);
    }
    this.pump();
  }

  async deliver(row, signal) {
    for (let restarts = 0; ; restarts += 1) {
      try {
        if (row.file) await this.begin(row, signal);
        if (row.mode === 'parts') await new PartSender(this, row, signal).send();
        else await this.sendPieces(row, signal);
        await this.complete(row, signal);
        return;
      } catch (error) {
        const again = error instanceof Refusal && row.file && restarts < 3 && [404, 409].includes(error.status);
        if (!again) throw error; // else it was swept meanwhile, or bytes are missing: beginning finds out what is there
        if (error.status === 404) row.id = null;
        await wait(backOff(restarts), signal);
      }
    }
  }

  fail(row, error) {
    if (error.status === 401) {
      this.set(row, { state: 'login', speed: 0, text: 'Log in again to go on' });
      return;
    }
    if (!(error instanceof Refusal)) console.error(error);
    if (row.id) this.gone.add(row.id);
    const text = error instanceof Refusal ? error.message : 'Something broke on our side. Choose the file again.';
    this.set(row, { state: 'refused', speed: 0, text, code: error.code ?? '', file: null });
  }

  // Ask again and again, however long it takes.
  async insist(row, signal, request) {
    for (let tries = 0; ; tries += 1) {
      signal.throwIfAborted();
      try {
        return await request();
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        await this.rest(row, signal, tries, error.message);
      }
    }
  }

  async rest(row, signal, tries, message) {
    this.set(row, { state: 'broken', speed: 0, text: message || LOST });
    await wait(backOff(tries), signal);
  }

  // What can be seen before the first byte. The server decides again at the end.
  async look(row, signal) {
    const seconds = await readDuration(row.file);
    signal.throwIfAborted();
    const late = seconds && judgeFile(row, this.limits, seconds * 1000);
    if (late) throw late;
  }

  async begin(row, signal) {
    const body = { name: row.name, size: row.size, fingerprint: row.fingerprint, options: this.options };
    // Not to be interrupted: whoever leaves now must still learn which upload to forget.
    const { data } = await this.insist(row, signal, () => ask('POST', '', { body }));
    if (row.dropped) await this.forget(data.id);
    else this.gone.delete(data.id);
    Object.assign(row, {
      id: data.id, mode: data.mode, received: data.offset, sent: data.offset,
      piece: data.chunk_bytes || PIECE, partBytes: data.part_bytes, parts: data.parts,
    });
    signal.throwIfAborted();
    this.set(row, { state: 'sending', text: '' });
  }

  async sendPieces(row, signal) {
    for (let tries = 0; row.received < row.size; ) {
      const start = row.received;
      try {
        const piece = row.file.slice(start, start + row.piece);
        const data = await put(`/${row.id}?offset=${start}`, piece, signal, (bytes) => {
          this.measure(row, start + Math.min(bytes, piece.size));
        });
        row.received = data.offset ?? start + piece.size;
        this.measure(row, row.received);
        tries = 0;
      } catch (error) {
        // The server has more or less than we think; or it takes no bytes any more, and beginning finds that out.
        const elsewhere = error instanceof Refusal && error.status === 409 && error.code !== 'in_parts';
        if (!elsewhere && !(error instanceof Fault)) throw error;
        signal.throwIfAborted();
        await this.checkFile(row);
        if (!elsewhere || tries > 0) await this.rest(row, signal, tries, elsewhere ? '' : error.message);
        tries += 1;
        row.received = await this.askReceived(row, signal);
        this.set(row, { state: 'sending', text: '', sent: row.received, sample: null });
      }
    }
  }

  async askReceived(row, signal) {
    const { answer } = await this.insist(row, signal, () => ask('HEAD', `/${row.id}`, { signal }));
    return Number(answer.headers.get('Upload-Offset'));
  }

  // A file that was changed or moved can't be read any more, which looks like a lost connection.
  async checkFile(row) {
    try {
      await row.file.slice(0, 1).arrayBuffer();
    } catch {
      throw new Refusal(0, 'changed', 'The file was changed or moved while it was sent. Choose it again.');
    }
  }

  async complete(row, signal) {
    this.set(row, { state: 'checking', speed: 0, text: 'Checking the file', sent: row.size });
    this.pump(); // the next file need not wait for the check
    const { data } = await this.insistQuietly(row, signal, () => ask('POST', `/${row.id}/complete`, { signal }));
    this.gone.add(row.id);
    this.set(row, { state: 'done', text: 'Ready to go: it is being made', videoId: data.video_id, file: null });
    this.dispatchEvent(new CustomEvent('completed', { detail: { name: row.name, video_id: data.video_id } }));
  }

  async insistQuietly(row, signal, request) {
    for (let tries = 0; ; tries += 1) {
      try {
        return await request();
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        this.set(row, { text: error.message || LOST });
        await wait(backOff(tries), signal);
      }
    }
  }

  measure(row, sent) {
    const now = performance.now();
    row.sent = Math.max(row.received, sent);
    row.sample ??= { at: now, sent: row.sent };
    const seconds = (now - row.sample.at) / 1000;
    if (seconds >= 0.5) {
      const speed = Math.max(0, row.sent - row.sample.sent) / seconds;
      row.speed = row.speed ? 0.7 * row.speed + 0.3 * speed : speed;
      row.sample = { at: now, sent: row.sent };
    }
    this.tell(row);
  }
}

// One for the tab; another person's uploads end with the login.
function getTransfers(user) {
  const held = window.mvfTransfers;
  if (held?.user === user) return held;
  held?.rows.forEach((row) => row.stop?.abort(new DOMException('another person', 'AbortError')));
  if (held) held.rows = [];
  window.mvfTransfers = new Transfers(user);
  return window.mvfTransfers;
}

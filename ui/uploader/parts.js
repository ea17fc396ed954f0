// Sends a file in parts straight to the file store: a few at once, each to an address that is good for a while. An
// address is asked for at every try, so none is ever too old. What the store has stays, whatever happens to the page.

const PARTS_AT_ONCE = 3;
const AWAY = 'The file store does not answer, trying again';
const SHUT = 'The file store does not take this part, trying again';
const CLOSED = 'The file store does not accept uploads from this address. Tell the administrator: make bucket';

// A browser tells nothing about an answer it may not show to us: a store that is away looks like one that does not
// know this page. Whether anybody answers there can be found out without seeing what.
async function explainSilence(url) {
  if (!navigator.onLine) return LOST;
  try {
    await fetch(new URL('/', url), { mode: 'no-cors', cache: 'no-store', signal: AbortSignal.timeout(5000) });
    return CLOSED;
  } catch {
    return AWAY;
  }
}

class PartSender {
  constructor(transfers, row, signal) {
    Object.assign(this, { transfers, row, moving: new Map(), resting: 0, workers: 0, isKnown: row.parts.length > 0 });
    this.crew = new AbortController(); // what ends one for good ends all
    signal.addEventListener('abort', () => this.crew.abort(signal.reason), { signal: this.crew.signal });
    const there = new Set(row.parts), count = Math.ceil(row.size / row.partBytes);
    this.missing = Array.from({ length: count }, (_, at) => at + 1).filter((number) => !there.has(number));
  }

  async send() {
    try {
      await Promise.all(Array.from({ length: Math.min(PARTS_AT_ONCE, this.missing.length) }, () => this.work()));
    } catch (error) {
      const elsewhere = error instanceof Refusal && error.status === 409; // another tab may have brought the rest
      if (!elsewhere || (await this.transfers.askReceived(this.row, this.crew.signal)) < this.row.size) throw error;
    } finally {
      this.crew.abort(new DOMException('over', 'AbortError'));
    }
  }

  async work() {
    this.workers += 1;
    for (let number = this.missing.shift(); number; number = this.missing.shift()) await this.sendPart(number);
    this.workers -= 1;
  }

  async sendPart(number) {
    const { row, transfers, crew: { signal } } = this, start = (number - 1) * row.partBytes;
    for (let tries = 0; ; tries += 1) {
      signal.throwIfAborted();
      try {
        const { data } = await ask('GET', `/${row.id}/parts/${number}`, { signal });
        const part = row.file.slice(start, start + data.size);
        await this.put(data.url, part, (bytes) => this.follow(number, Math.min(bytes, part.size)), tries);
        row.received += part.size;
        this.isKnown = true;
        this.follow(number, 0);
        return;
      } catch (error) {
        this.moving.delete(number);
        if (!(error instanceof Fault)) throw error;
        await transfers.checkFile(row);
        await this.rest(tries, error.message);
      }
    }
  }

  async put(url, part, onSent, tries) {
    const { status } = await send(url, {}, part, this.crew.signal, onSent);
    if (status >= 200 && status < 300) return;
    if (status === 404) throw new Refusal(409, 'gone', 'The file store has lost this upload. Choose the file again.');
    if (status) throw new Fault(status >= 500 ? AWAY : SHUT);
    // Once is an accident. A store that has taken a part knows this page.
    throw new Fault(tries && !this.isKnown ? await explainSilence(url) : AWAY);
  }

  // Nothing moves only when everybody rests.
  async rest(tries, message) {
    this.resting += 1;
    try {
      if (this.resting >= this.workers) {
        this.transfers.set(this.row, { state: 'broken', speed: 0, text: message || LOST, sample: null });
      }
      await wait(backOff(tries), this.crew.signal);
    } finally {
      this.resting -= 1;
    }
  }

  follow(number, bytes) {
    const { row, moving } = this;
    if (this.crew.signal.aborted) return;
    if (bytes) moving.set(number, bytes);
    else moving.delete(number);
    if (row.state === 'broken') Object.assign(row, { state: 'sending', text: '' });
    this.transfers.measure(row, [...moving.values()].reduce((sum, one) => sum + one, row.received));
  }
}

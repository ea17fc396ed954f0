// Times of the original and of the result: removed parts are [start, end] in milliseconds of the original.

class Cuts {
  constructor(removed, sourceMs) {
    this.sourceMs = sourceMs
    this.removed = []
    let gone = 0
    for (const { start_ms: start, end_ms: end } of removed ?? []) {
      this.removed.push({ start, end, length: end - start, at: start - gone })
      gone += end - start
    }
    this.resultMs = sourceMs - gone
  }

  // The place in the result of a place in the original; of a removed one, the seam.
  toResult(ms) {
    const part = this.removed[lastAt(this.removed, ms, (one) => one.start)]
    return !part ? ms : ms < part.end ? part.at : part.at + ms - part.end
  }

  toSource(ms) {
    const part = this.removed[lastAt(this.removed, ms, (one) => one.at)]
    return part ? part.end + ms - part.at : ms
  }

  removedAt(ms) {
    const part = this.removed[lastAt(this.removed, ms, (one) => one.start)]
    return part && ms < part.end ? part : null
  }

  longest(count) {
    return [...this.removed].sort((a, b) => b.length - a.length).slice(0, count)
  }
}

// The index of the last item whose key is not after `value`, -1 when there is none.
function lastAt(items, value, key) {
  let low = 0, high = items.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (key(items[middle]) <= value) low = middle + 1
    else high = middle
  }
  return low - 1
}

function clock(ms) {
  const all = Math.max(0, Math.floor(ms / 1000)), hours = Math.floor(all / 3600)
  const minutes = Math.floor(all / 60) % 60, seconds = String(all % 60).padStart(2, "0")
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${seconds}` : `${minutes}:${seconds}`
}

// The cues of a WebVTT file as our own program writes it: {start, end, text} in milliseconds.
function parseCaptions(text) {
  const cues = []
  for (const block of text.replace(/\r\n?/g, "\n").split(/\n{2,}/)) {
    const lines = block.split("\n")
    const at = lines.findIndex((line) => line.includes("-->"))
    if (at < 0) continue
    const [start, end] = lines[at].split("-->").map((part) => parseTime(part.trim().split(/\s/)[0]))
    const words = lines.slice(at + 1).join("\n").replace(/<[^>]*>/g, "")
    cues.push({ start, end, text: ENTITIES.reduce((all, [name, sign]) => all.replaceAll(name, sign), words) })
  }
  return cues
}

const ENTITIES = [["&lt;", "<"], ["&gt;", ">"], ["&nbsp;", " "], ["&lrm;", "\u200e"], ["&rlm;", "\u200f"], ["&amp;", "&"]]

function parseTime(text) {
  return Math.round(text.split(":").reduce((sum, part) => sum * 60 + Number(part), 0) * 1000)
}

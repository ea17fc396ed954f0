// The sound of the original, with what was removed hatched. Everything on it can be reached by keys too.

const BAR = 2, STEP = 4

class Wave {
  constructor(root, choose) {
    this.section = root.querySelector(".wave")
    this.strip = root.querySelector(".strip")
    this.canvas = root.querySelector("canvas")
    this.head = root.querySelector(".head")
    this.ticks = root.querySelector(".ticks")
    this.buttons = root.querySelector(".longest")
    this.colours = { kept: root.querySelector(".legend .kept"), removed: root.querySelector(".legend .removed") }
    this.choose = choose
    this.strip.addEventListener("click", (event) => {
      const box = this.strip.getBoundingClientRect()
      const ms = (event.clientX - box.left) / box.width * this.cuts.sourceMs
      choose(ms, this.near(ms, 6 / box.width * this.cuts.sourceMs))
    })
    this.strip.addEventListener("keydown", (event) => this.key(event))
    this.sized = new ResizeObserver(() => this.draw())
    this.sized.observe(this.strip)
    this.scheme = matchMedia("(prefers-color-scheme: dark)")
    this.redraw = () => requestAnimationFrame(() => requestAnimationFrame(() => this.draw()))
    this.scheme.addEventListener("change", this.redraw)
  }

  fill(peaks, cuts) {
    this.peaks = peaks
    this.cuts = cuts
    this.strip.setAttribute("aria-valuemax", String(Math.round(cuts.sourceMs / 1000)))
    this.ticks.replaceChildren(...[0, 1, 2, 3, 4, 5, 6].map((part) => {
      const tick = make("span")
      tick.textContent = clock(cuts.sourceMs * part / 6)
      return tick
    }))
    this.section.classList.toggle("uncut", !cuts.removed.length)
    const longest = cuts.longest(7)
    this.buttons.hidden = !longest.length
    this.buttons.querySelectorAll("button").forEach((old) => old.remove())
    for (const part of longest) {
      const button = make("button"), place = make("b")
      button.type = "button"
      place.textContent = clock(part.start)
      button.append(place, `${(part.length / 1000).toFixed(1)} s`)
      button.setAttribute("aria-label", `Hear the cut at ${clock(part.start)}, ${(part.length / 1000).toFixed(1)} seconds removed`)
      button.addEventListener("click", () => this.choose(part.start, part))
      this.buttons.append(button)
    }
    this.draw()
  }

  near(ms, slack) {
    const inside = this.cuts.removedAt(ms)
    if (inside) return inside
    const close = this.cuts.removed.filter((one) => one.start - slack <= ms && ms <= one.end + slack)
    return close[0] ?? null
  }

  place(ms) {
    if (!this.cuts) return
    this.ms = ms
    this.head.style.left = `${Math.min(100, ms / this.cuts.sourceMs * 100)}%`
    const second = Math.round(ms / 1000)
    if (second === this.second) return
    this.second = second
    const part = this.cuts.removedAt(ms)
    this.strip.setAttribute("aria-valuenow", String(second))
    this.strip.setAttribute("aria-valuetext", `${clock(ms)}, ${part ? `removed, ${(part.length / 1000).toFixed(1)} seconds` : "kept"}`)
  }

  key(event) {
    if (!this.cuts) return
    const { removed } = this.cuts, at = lastAt(removed, this.ms + 1600, (one) => one.start)
    const to = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1, Home: 0, End: removed.length - 1, Enter: at, " ": at }[event.key]
    if (to === undefined) return
    event.preventDefault()
    event.stopPropagation()
    const part = removed[Math.max(0, Math.min(removed.length - 1, to))]
    if (part) this.choose(part.start, part)
  }

  draw() {
    const width = this.strip.clientWidth, height = this.strip.clientHeight
    if (!this.peaks || !width) return
    const scale = devicePixelRatio || 1, canvas = this.canvas
    canvas.width = Math.round(width * scale)
    canvas.height = Math.round(height * scale)
    const pen = canvas.getContext("2d")
    pen.scale(scale, scale)
    const kept = getComputedStyle(this.colours.kept).color, gone = getComputedStyle(this.colours.removed).color
    const { sourceMs, removed } = this.cuts, perMs = width / sourceMs
    this.hatch(pen, removed.map((one) => [one.start * perMs, Math.max(1, one.length * perMs)]), height, gone)
    const { per_second: rate, peaks } = this.peaks
    const highest = Math.max(32, peaks.reduce((most, one) => Math.max(most, one), 0))
    for (let x = 0; x < width; x += STEP) {
      const from = x / perMs, to = (x + STEP) / perMs
      let peak = 0
      for (let i = Math.floor(from / 1000 * rate); i <= Math.floor(to / 1000 * rate) && i < peaks.length; i += 1) peak = Math.max(peak, peaks[i])
      const isGone = this.cuts.removedAt((from + to) / 2)
      const tall = Math.max(3, Math.min(1, peak / highest) * (height - 14))
      pen.globalAlpha = isGone ? 0.7 : 1
      pen.fillStyle = isGone ? gone : kept
      pen.beginPath()
      pen.roundRect(x, (height - tall) / 2, BAR, tall, 1)
      pen.fill()
    }
    pen.globalAlpha = 1
  }

  hatch(pen, boxes, height, colour) {
    pen.save()
    pen.beginPath()
    for (const [x, width] of boxes) pen.rect(x, 0, width, height)
    pen.fillStyle = colour
    pen.globalAlpha = 0.08
    pen.fill()
    pen.clip()
    pen.globalAlpha = 0.4
    pen.strokeStyle = colour
    pen.lineWidth = 1
    pen.beginPath()
    for (const [left, width] of boxes) {
      for (let x = Math.floor((left - height) / 5) * 5; x < left + width; x += 5) {
        pen.moveTo(x, height)
        pen.lineTo(x + height, 0)
      }
    }
    pen.stroke()
    pen.restore()
  }

  leave() {
    this.sized.disconnect()
    this.scheme.removeEventListener("change", this.redraw)
  }
}

// The player, its transcript, the facts and the waveform: one component, so that they talk to each other without a run
// of the page. It fetches captions, waveform and report from our own routes.

const ICONS = {
  play: '<svg viewBox="0 0 18 18" fill="currentColor" aria-hidden="true"><path d="M4.5 2.6v12.8a.6.6 0 0 0 .9.5l10-6.4a.6.6 0 0 0 0-1l-10-6.4a.6.6 0 0 0-.9.5z"/></svg>',
  pause: '<svg viewBox="0 0 18 18" fill="currentColor" aria-hidden="true"><rect x="4" y="3" width="3.6" height="12" rx="1"/><rect x="10.4" y="3" width="3.6" height="12" rx="1"/></svg>',
  loud: '<svg viewBox="0 0 18 18" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d="M2.5 7v4h2.6L9 14.2V3.8L5.1 7z"/><path d="M11.8 6.6a3.4 3.4 0 0 1 0 4.8M14 4.4a6.5 6.5 0 0 1 0 9.2"/></svg>',
  mute: '<svg viewBox="0 0 18 18" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d="M2.5 7v4h2.6L9 14.2V3.8L5.1 7z"/><path d="m12 7 4 4m0-4-4 4"/></svg>',
  cc: '<svg viewBox="0 0 18 18" fill="none" stroke="currentColor" stroke-width="1.5" aria-hidden="true"><rect x="2" y="3.5" width="14" height="11" rx="1.5"/><path d="M8 7.8a1.6 1.6 0 1 0 0 2.4m5-2.4a1.6 1.6 0 1 0 0 2.4" stroke-linecap="round"/></svg>',
  full: '<svg viewBox="0 0 18 18" fill="none" stroke="currentColor" stroke-width="1.7" aria-hidden="true"><path d="M2.5 6.5v-4h4m5 0h4v4m0 5v4h-4m-5 0h-4v-4"/></svg>',
  tick: '<svg viewBox="0 0 11 11" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d="m1.2 6 2.8 2.8 5.8-6.6"/></svg>',
  warn: '<svg viewBox="0 0 11 11" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" aria-hidden="true"><path d="M5.5 1.2v5.2m0 3v.2"/></svg>',
  arrow: '<svg viewBox="0 0 12 9" fill="none" stroke="currentColor" stroke-width="1.2" role="img" aria-label="to"><path d="M0 4.5h11M7.5 1 11 4.5 7.5 8"/></svg>',
}
const SPEEDS = [1, 1.25, 1.5, 2, 0.75]
const SEAM_MS = 1500
const UNPLAYABLE = {
  result: "This browser can't play the video. Download it to watch it.",
  original: "This browser can't play the original. The result plays everywhere.",
}

export default function ({ parentElement: root, data }) {
  // After an update of the product an open page gets new nodes: the player of the old ones is no use any more.
  if (!root.__player?.video.isConnected) root.__player = new Player(root)
  const player = root.__player
  player.show(data)
  return () => player.leave()
}

class Player {
  constructor(root) {
    const find = (selector) => root.querySelector(selector)
    this.root = root
    this.video = find("video")
    this.screen = find(".screen")
    this.caption = find(".caption")
    this.broken = find(".broken")
    this.seek = find(".seek")
    this.buttons = Object.fromEntries(["play", "mute", "speed", "cc", "full"].map((name) => [name, find(`.row .${name}`)]))
    this.volume = find(".volume")
    this.now = find(".now")
    this.whole = find(".whole")
    this.modes = [...root.querySelectorAll(".switch button")]
    this.transcript = new Transcript(root, (cue) => this.jump(this.place(cue.start), true))
    this.wave = new Wave(root, (ms, part) => this.hear(ms, part))
    this.mode = "result"
    this.cues = []
    this.cuts = new Cuts([], 0)
    this.wantsCaptions = true
    this.buttons.cc.innerHTML = ICONS.cc
    this.buttons.full.innerHTML = ICONS.full
    this.listen()
    this.showState()
    this.showVolume()
  }

  // --- what is shown ---

  show(data) {
    const text = JSON.stringify(data)
    if (text === this.shown) return
    this.shown = text
    const other = this.data?.job !== data.job
    this.data = data
    this.showFacts(data)
    if (!other) return
    this.mode = "result"
    this.wantsCaptions = !data.burned
    this.buttons.cc.hidden = !data.captions
    this.showState()
    this.cuts = new Cuts([], data.source_ms)
    this.load(0, false)
    this.fetch(data)
  }

  async fetch(data) {
    const get = async (address, kind) => {
      const answer = await fetch(address)
      if (!answer.ok) throw new Error(`${answer.status}`)
      return answer[kind]()
    }
    const mine = () => this.data.job === data.job
    const rest = Promise.all([get(data.report, "json"), get(data.peaks, "json")]).then(([report, peaks]) => {
      if (!mine()) return
      this.cuts = new Cuts(report.cuts.removed, report.source.duration_ms)
      this.wave.fill(peaks, this.cuts)
      this.tick()
    })
    rest.catch(() => {}) // told below, when it is awaited
    const spoken = data.captions ? get(data.captions, "text").then(parseCaptions) : Promise.resolve([])
    try {
      const cues = await spoken
      if (!mine()) return
      this.cues = cues
      this.transcript.fill(cues, (ms) => this.place(ms))
      this.transcript.tell(cues.length ? "" : data.silent)
      this.tick()
      await rest
    } catch {
      if (mine()) this.transcript.tell("The transcript could not be loaded. Reload the page.")
    }
  }

  showFacts({ facts, checks }) {
    const list = this.root.querySelector(".facts")
    list.replaceChildren(...facts.map(({ text, before, after }) => {
      const item = make("li")
      if (!before) {
        item.textContent = text
        return item
      }
      const from = make("span", "number"), to = make("b", "number")
      from.textContent = before
      to.textContent = after
      item.innerHTML = ICONS.arrow
      item.prepend(from)
      item.append(to)
      return item
    }), ...checks.map(({ label, text, ok }) => {
      const item = make("li", ok ? "check" : "check warn")
      item.innerHTML = ok ? ICONS.tick : ICONS.warn
      item.append(label)
      item.title = text
      return item
    }))
  }

  load(ms, plays) {
    const { video, data, mode } = this
    this.broken.hidden = true
    this.plays = plays
    this.screen.classList.toggle("apart", data.burned && data.captions !== "")
    this.stopAt = null
    video.poster = data.poster
    video.src = mode === "result" ? data.video : data.original
    video.querySelectorAll("track").forEach((old) => old.remove())
    if (data.captions && mode === "result" && !data.burned) {
      const track = document.createElement("track")
      Object.assign(track, { kind: "captions", src: data.captions, srclang: data.language || "en", label: "Captions" })
      video.append(track)
      track.track.mode = "hidden" // for a browser's own full screen; here we draw them
    }
    video.playbackRate = this.rate ?? 1
    for (const button of this.modes) {
      const on = button.dataset.mode === mode
      button.setAttribute("aria-checked", String(on))
      button.tabIndex = on ? 0 : -1
    }
    this.transcript.relabel((at) => this.place(at))
    video.addEventListener("loadedmetadata", () => {
      if (ms) video.currentTime = ms / 1000
      if (plays) video.play().catch(() => {})
      this.tick()
    }, { once: true })
    this.tick()
  }

  // Where a video comes from may be known for an hour only: then asking our own address again finds it once more. Not
  // when it breaks off in the same place again.
  goOn() {
    const { ms, stopAt } = this
    if (!this.video.readyState || this.lostAt === ms) return false
    this.load(ms, this.plays) // by now the video calls itself paused
    Object.assign(this, { lostAt: ms, stopAt })
    return true
  }

  // --- places: cues are in the time of the result; the player may show the original ---

  place(ms) { return this.mode === "result" ? ms : this.cuts.toSource(ms) }

  get ms() { return this.video.currentTime * 1000 }

  get lengthMs() {
    const known = this.mode === "result" ? this.data?.duration_ms : this.data?.source_ms
    return Number.isFinite(this.video.duration) ? this.video.duration * 1000 : known ?? 0
  }

  tick() {
    const { ms } = this, whole = this.lengthMs, share = whole ? Math.min(1, ms / whole) : 0
    if (this.stopAt !== null && ms >= this.stopAt) {
      this.stopAt = null
      this.video.pause()
    }
    set(this.now, clock(ms))
    set(this.whole, clock(whole))
    this.seek.querySelector(".played").style.width = this.seek.querySelector("b").style.left = `${share * 100}%`
    const second = String(Math.floor(ms / 1000))
    if (this.seek.getAttribute("aria-valuenow") !== second) {
      this.seek.setAttribute("aria-valuenow", second)
      this.seek.setAttribute("aria-valuemax", String(Math.floor(whole / 1000)))
      this.seek.setAttribute("aria-valuetext", `${clock(ms)} of ${clock(whole)}`)
    }
    this.wave.place(this.mode === "result" ? this.cuts.toSource(ms) : ms)
    this.showCue(this.mode === "result" ? ms : this.cuts.toResult(ms))
  }

  showCue(ms) {
    const at = lastAt(this.cues, ms + 1, (cue) => cue.start), cue = this.cues[at]
    const spoken = cue && ms < cue.end
    this.transcript.mark(at)
    this.caption.hidden = !spoken || !this.wantsCaptions
    if (spoken) set(this.caption.firstElementChild, cue.text)
  }

  jump(ms, plays = false) {
    this.stopAt = null
    this.video.currentTime = Math.max(0, Math.min(this.lengthMs - 50, ms)) / 1000
    if (plays) this.video.play().catch(() => {})
    this.tick()
  }

  // Three seconds around a seam; in the original, the pause itself.
  hear(ms, part) {
    if (!part) return this.jump(this.mode === "result" ? this.cuts.toResult(ms) : ms, true)
    const seam = this.mode === "result" ? [part.at, part.at] : [part.start, part.end]
    this.jump(Math.max(0, seam[0] - SEAM_MS), true)
    this.stopAt = seam[1] + SEAM_MS
  }

  // --- what is done ---

  toggle() { this.video.paused ? this.video.play().catch(() => {}) : this.video.pause() }

  toggleCaptions() {
    this.wantsCaptions = !this.wantsCaptions
    this.showState()
    this.tick()
  }

  switchTo(mode) {
    if (mode === this.mode) return
    const at = mode === "original" ? this.cuts.toSource(this.ms) : this.cuts.toResult(this.ms)
    const plays = !this.video.paused
    this.mode = mode
    this.load(at, plays)
  }

  speedUp() {
    this.rate = this.video.playbackRate = SPEEDS[(SPEEDS.indexOf(this.video.playbackRate) + 1) % SPEEDS.length]
    this.showState()
  }

  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen()
    else if (this.screen.requestFullscreen) this.screen.requestFullscreen()
    else this.video.webkitEnterFullscreen?.()
  }

  showState() {
    const { paused, playbackRate } = this.video, { play, speed, cc } = this.buttons
    play.innerHTML = paused ? ICONS.play : ICONS.pause
    play.setAttribute("aria-label", paused ? "Play" : "Pause")
    set(speed, `${playbackRate}×`)
    speed.setAttribute("aria-label", `Speed ${playbackRate} times`)
    cc.setAttribute("aria-pressed", String(this.wantsCaptions))
    this.wake()
  }

  showVolume() {
    const off = this.video.muted || !this.video.volume
    this.buttons.mute.innerHTML = off ? ICONS.mute : ICONS.loud
    this.buttons.mute.setAttribute("aria-label", off ? "Sound on" : "Mute")
    this.volume.value = off ? 0 : this.video.volume
  }

  wake() {
    this.screen.classList.remove("idle")
    clearTimeout(this.sleep)
    if (!this.video.paused) this.sleep = setTimeout(() => this.screen.classList.add("idle"), 2500)
  }

  listen() {
    const { video, buttons } = this
    const run = () => {
      this.tick()
      if (!video.paused) this.frame = requestAnimationFrame(run)
    }
    for (const name of ["play", "pause", "ended"]) video.addEventListener(name, () => { this.plays = name === "play" })
    video.addEventListener("play", () => { cancelAnimationFrame(this.frame); this.showState(); run() })
    for (const name of ["pause", "ended", "ratechange"]) video.addEventListener(name, () => this.showState())
    video.addEventListener("seeked", () => { this.lostAt = null })
    for (const name of ["seeked", "timeupdate", "durationchange"]) video.addEventListener(name, () => this.tick())
    video.addEventListener("volumechange", () => this.showVolume())
    video.addEventListener("progress", () => {
      const { buffered, duration } = video
      const end = buffered.length && duration ? buffered.end(buffered.length - 1) / duration : 0
      this.seek.querySelector(".loaded").style.width = `${end * 100}%`
    })
    video.addEventListener("error", () => {
      if (!video.getAttribute("src") || this.goOn()) return
      set(this.broken, UNPLAYABLE[this.mode])
      this.broken.hidden = false
    })
    video.addEventListener("webkitbeginfullscreen", () => this.nativeCaptions("showing"))
    video.addEventListener("webkitendfullscreen", () => this.nativeCaptions("hidden"))
    video.addEventListener("click", () => this.toggle())
    this.screen.addEventListener("pointermove", () => this.wake())
    this.screen.addEventListener("focusin", () => this.wake())
    buttons.play.addEventListener("click", () => this.toggle())
    buttons.mute.addEventListener("click", () => { video.muted = !video.muted })
    this.volume.addEventListener("input", () => { video.volume = Number(this.volume.value); video.muted = false })
    buttons.speed.addEventListener("click", () => this.speedUp())
    buttons.cc.addEventListener("click", () => this.toggleCaptions())
    buttons.full.addEventListener("click", () => this.fullScreen())
    this.modes.forEach((button, at) => {
      button.addEventListener("click", () => this.switchTo(button.dataset.mode))
      button.addEventListener("keydown", (event) => {
        if (!event.key.startsWith("Arrow")) return
        event.preventDefault()
        event.stopPropagation()
        this.modes[1 - at].focus()
        this.switchTo(this.modes[1 - at].dataset.mode)
      })
    })
    this.listenToSeek()
    this.root.querySelector(".page").addEventListener("click", (event) => {
      if (event.detail) event.target.closest("button")?.blur() // after a click by mouse, the keys are the player's again
    })
    this.keys = (event) => this.key(event)
    document.addEventListener("keydown", this.keys, true)
  }

  nativeCaptions(mode) {
    for (const track of this.video.textTracks) track.mode = this.wantsCaptions ? mode : "hidden"
  }

  listenToSeek() {
    const to = (event) => {
      const box = this.seek.getBoundingClientRect()
      this.jump((event.clientX - box.left) / box.width * this.lengthMs)
    }
    this.seek.addEventListener("pointerdown", (event) => {
      if (event.button) return
      this.seek.setPointerCapture(event.pointerId)
      to(event)
    })
    this.seek.addEventListener("pointermove", (event) => this.seek.hasPointerCapture(event.pointerId) && to(event))
    this.seek.addEventListener("keydown", (event) => {
      const ends = { Home: 0, End: this.lengthMs }[event.key]
      if (ends === undefined) return
      event.preventDefault()
      this.jump(ends)
    })
  }

  // Keys work wherever the focus is, but not where somebody types, and not on what has keys of its own.
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return
    const path = event.composedPath(), at = path[0]
    if (path.some((node) => node.matches?.("[role=menu], [role=dialog], [role=listbox], [role=combobox]"))) return
    if (document.querySelector("[role=dialog]")) return
    if (at.matches?.("input:not([type=range]), textarea, select, [contenteditable=true]")) return
    if (path.some((node) => node.matches?.(".lines, .strip, .switch")) && !/^[kc/,.]$/.test(event.key)) return
    const pressed = at.matches?.("button, a, summary, [role=button], input")
    const frame = 1000 / (this.data?.fps || 25)
    const acts = {
      " ": () => this.toggle(), k: () => this.toggle(), c: () => this.data.captions && this.toggleCaptions(),
      ArrowLeft: () => this.jump(this.ms - 5000), ArrowRight: () => this.jump(this.ms + 5000),
      ",": () => this.step(-frame), ".": () => this.step(frame),
      "/": () => this.transcript.box.focus(),
      Escape: () => this.transcript.box.value && this.transcript.clear(),
    }
    const act = acts[event.key]
    if (!act || (event.key === " " && pressed) || (event.key.startsWith("Arrow") && at.matches?.("input"))) return
    event.preventDefault()
    event.stopImmediatePropagation()
    act()
  }

  step(ms) {
    this.video.pause()
    this.jump(this.ms + ms)
  }

  leave() {
    document.removeEventListener("keydown", this.keys, true)
    cancelAnimationFrame(this.frame)
    clearTimeout(this.sleep)
    this.wave.leave()
    this.video.removeAttribute("src")
    this.video.load()
  }
}

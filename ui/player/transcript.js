// The lines that were spoken. A three-hour talk has thousands: the browser lays out only those in view
// (content-visibility), and a moment of playing touches two of them.

class Transcript {
  constructor(root, jump) {
    this.list = root.querySelector(".lines")
    this.box = root.querySelector(".search input")
    this.found = root.querySelector(".found")
    this.silent = root.querySelector(".silent")
    this.items = []
    this.current = -1
    this.handsOff = 0
    this.list.addEventListener("click", (event) => {
      const button = event.target.closest("button")
      if (button) jump(this.items[Number(button.dataset.at)].cue)
    })
    this.list.addEventListener("keydown", (event) => this.move(event))
    for (const name of ["wheel", "touchmove", "keydown"]) {
      this.list.addEventListener(name, () => { this.handsOff = performance.now() + 4000 }, { passive: true })
    }
    this.box.addEventListener("input", () => this.search())
    this.box.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.shown()[0]?.button.click()
      else if (event.key === "ArrowDown") this.shown()[0]?.button.focus()
      else if (event.key === "Escape") this.clear()
      else return
      event.preventDefault()
      event.stopPropagation()
    })
  }

  fill(cues, place) {
    this.items = cues.map((cue, at) => {
      const item = make("li"), button = make("button"), time = make("time"), text = make("span")
      button.type = "button"
      button.dataset.at = at
      const words = cue.text.replaceAll("\n", " ")
      text.textContent = words
      button.append(time, text)
      item.append(button)
      return { cue, item, button, time, text, words, folded: words.toLocaleLowerCase() }
    })
    this.current = -1
    this.relabel(place)
    this.list.replaceChildren(...this.items.map((one) => one.item))
    this.list.hidden = !cues.length
  }

  relabel(place) {
    this.list.classList.toggle("long", this.items.length > 0 && place(this.items.at(-1).cue.start) >= 3_600_000)
    for (const { cue, time } of this.items) set(time, clock(place(cue.start)))
  }

  tell(sentence) {
    set(this.silent, sentence)
    this.silent.hidden = !sentence
    this.list.hidden = Boolean(sentence)
  }

  mark(at) {
    if (at === this.current) return
    this.items[this.current]?.button.removeAttribute("aria-current")
    this.current = at
    const one = this.items[at]
    if (!one) return
    one.button.setAttribute("aria-current", "true")
    if (!this.box.value && performance.now() > this.handsOff) this.show(one)
  }

  show({ item }) {
    const settle = () => {
      const middle = item.offsetTop - (this.list.clientHeight - item.offsetHeight) * 0.42
      if (Math.abs(this.list.scrollTop - middle) > 1) this.list.scrollTop = middle
    }
    settle()
    requestAnimationFrame(settle) // lines that come into view now get their true height
  }

  shown() { return this.items.filter((one) => !one.item.hidden) }

  search() {
    const wanted = this.box.value.trim().toLocaleLowerCase()
    let count = 0
    for (const one of this.items) {
      const at = wanted ? one.folded.indexOf(wanted) : 0
      one.item.hidden = at < 0
      if (wanted && at >= 0) {
        count += 1
        const mark = make("mark")
        mark.textContent = one.words.slice(at, at + wanted.length)
        one.text.replaceChildren(one.words.slice(0, at), mark, one.words.slice(at + wanted.length))
      } else if (one.text.firstElementChild) {
        one.text.textContent = one.words
      }
    }
    set(this.found, wanted ? `${count} ${count === 1 ? "line" : "lines"}` : "")
    if (wanted) this.list.scrollTop = 0
    else if (this.items[this.current]) this.show(this.items[this.current])
    if (this.items.length) this.tell(wanted && !count ? "No line has these words." : "")
  }

  clear() {
    this.box.value = ""
    this.search()
    this.box.blur()
  }

  move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (!step) return
    const shown = this.shown(), at = shown.findIndex((one) => one.button === event.target.closest("button"))
    shown[at + step]?.button.focus()
    event.preventDefault()
    event.stopPropagation()
  }
}

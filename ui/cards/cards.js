// All cards of the list. A card's nodes are made once and kept: only what changed is touched, so that an open menu,
// the focus and the pictures outlive every live update.

const ARROW = '<svg viewBox="0 0 11 9" fill="none" stroke="currentColor" stroke-width="1.2" role="img" aria-label="to"><path d="M0 4.5h10M6.5 1 10 4.5 6.5 8"/></svg>'
const DOTS = '<svg viewBox="0 0 16 4" fill="currentColor" aria-hidden="true"><circle cx="2.5" cy="2" r="1.4"/><circle cx="8" cy="2" r="1.4"/><circle cx="13.5" cy="2" r="1.4"/></svg>'
const NO_PICTURE = '<svg class="none" viewBox="0 0 320 180" aria-hidden="true"><g fill="currentColor">' +
  [[118, 20], [128, 36], [138, 62], [148, 44], [158, 7], [168, 7], [178, 7], [188, 30], [198, 54]]
    .map(([x, h]) => `<rect x="${x}" y="${90 - h / 2}" width="4" height="${h}" rx="2"/>`).join("") + "</g></svg>"

export default function ({ parentElement: root, data, setTriggerValue }) {
  if (!root.__list?.grid.isConnected) root.__list = new CardList(root) // an update of the product brings new nodes
  const list = root.__list
  list.trigger = setTriggerValue
  list.show(data)
  return () => list.leave()
}

class CardList {
  constructor(root) {
    this.root = root
    this.grid = root.querySelector(".cards")
    this.spoken = root.querySelector(".spoken")
    this.cards = new Map()
    this.menu = new Menu(root.querySelector(".home"), (id, what) => this.act(id, what))
  }

  act(id, what) {
    if (what === "open") this.cards.get(id)?.node.classList.add("leaving")
    else this.expectBack(this.cards.get(id)?.more)
    this.trigger("act", { id, what })
  }

  // A dialog forgets where the focus came from: once it has come and gone, the button that led to it has it again.
  expectBack(button) {
    let seen = false, looks = 0
    clearInterval(this.watch)
    this.watch = setInterval(() => {
      const isOpen = document.querySelector("[role=dialog]") !== null
      seen ||= isOpen
      looks += 1
      if (seen ? isOpen : looks < 50) return
      clearInterval(this.watch)
      if (document.activeElement === document.body) button?.focus()
    }, 100)
  }

  show(data) {
    const wanted = new Set(data.cards.map((card) => card.id))
    for (const [id, card] of this.cards) {
      if (wanted.has(id)) continue
      if (this.menu.id === id) this.menu.close(false)
      card.node.remove()
      this.cards.delete(id)
    }
    data.cards.forEach((values, at) => {
      let card = this.cards.get(values.id)
      if (!card) this.cards.set(values.id, card = new Card(values.id, this))
      const before = card.values
      card.show(values)
      if (before && before.chip !== values.chip) this.spoken.textContent = `${values.title}: ${values.chip}`
      if (this.grid.children[at] !== card.node) this.grid.insertBefore(card.node, this.grid.children[at] ?? null)
      if (this.menu.id === values.id) this.menu.fill(values.menu)
    })
  }

  leave() {
    clearInterval(this.watch)
    this.menu.leave()
    previews.clear()
  }
}

class Card {
  constructor(id, list) {
    const node = this.node = make("article", "card")
    node.setAttribute("role", "listitem")
    node.dataset.id = id
    this.poster = make("div", "poster")
    this.poster.innerHTML = NO_PICTURE
    this.length = make("span", "length")
    this.poster.append(this.length)
    const body = make("div", "body"), title = make("h3", "title"), foot = make("div", "foot")
    this.link = make("a")
    this.link.addEventListener("click", (event) => {
      if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return
      event.preventDefault()
      list.act(id, "open")
    })
    title.append(this.link)
    this.line = make("div", "line")
    this.left = make("span", "left")
    this.right = make("span", "right")
    this.line.append(this.left, this.right)
    this.bar = make("div", "bar")
    this.bar.setAttribute("role", "progressbar")
    this.bar.setAttribute("aria-valuemin", "0")
    this.bar.setAttribute("aria-valuemax", "100")
    this.bar.append(make("i"))
    this.chip = make("span", "chip")
    this.when = make("span", "when")
    this.action = make("button", "act")
    this.action.type = "button"
    this.action.addEventListener("click", () => list.act(id, this.values.action.id))
    this.more = make("button", "more")
    this.more.type = "button"
    this.more.innerHTML = DOTS
    list.menu.serve(this.more, () => ({ id, label: `For ${this.values.title}`, entries: this.values.menu }))
    foot.append(this.chip, this.when, this.action, this.more)
    body.append(title, this.line, this.bar, foot)
    node.append(this.poster, body)
  }

  show(values) {
    const before = this.values ?? {}
    this.values = values
    this.node.classList.remove("leaving")
    if (JSON.stringify(before) === JSON.stringify(values)) return
    set(this.link, values.title)
    if (this.link.getAttribute("href") !== values.href) this.link.href = values.href
    set(this.length, values.length)
    if (this.node.dataset.state !== values.state) this.node.dataset.state = values.state
    set(this.chip, values.chip)
    set(this.when, values.when)
    this.line.classList.toggle("sentence", values.sentence)
    if (values.before) {
      if (before.before !== values.before || before.after !== values.after) {
        const from = make("span", "number"), to = make("b", "number")
        from.textContent = values.before
        to.textContent = values.after
        this.left.innerHTML = ARROW
        this.left.prepend(from)
        this.left.append(to)
      }
    } else {
      set(this.left, values.text)
    }
    set(this.right, values.right)
    this.bar.hidden = values.percent === null
    if (values.percent !== null) {
      this.bar.setAttribute("aria-label", values.title)
      this.bar.setAttribute("aria-valuenow", String(values.percent))
      this.bar.firstChild.style.width = `${values.percent}%`
    }
    this.action.hidden = !values.action
    if (values.action) {
      set(this.action, values.action.label)
      this.action.setAttribute("aria-label", `${values.action.label}: ${values.title}`)
    }
    this.more.setAttribute("aria-label", `More for ${values.title}`)
    if (before.poster !== values.poster || before.original !== values.original) this.picture(values)
  }

  picture({ id, poster, original }) {
    if (poster) {
      const front = new Image(), behind = new Image()
      front.alt = behind.alt = ""
      front.className = "front"
      behind.className = "behind"
      front.onload = () => {
        behind.src = poster
        this.place(front, behind, front.naturalWidth / front.naturalHeight)
      }
      front.src = poster
    } else if (original) {
      previews.ask(id, original, this.node, (front, behind, ratio) => this.values.poster || this.place(front, behind, ratio))
    }
  }

  place(front, behind, ratio) {
    this.poster.querySelectorAll("img, canvas").forEach((old) => old.remove())
    this.poster.classList.toggle("tall", ratio < 1.4)
    this.poster.classList.add("seen")
    this.poster.prepend(behind, front)
  }
}

// A video without a result has no poster yet: one frame of the original stands in, where the browser can read it. One
// file is opened at a time, only when its card is seen, and let go at once.
const previews = {
  queue: [], busy: false, cache: new Map(), watched: new Map(),
  observer: null,
  ask(id, url, node, done) {
    if (this.cache.has(id)) {
      const kept = this.cache.get(id)
      if (kept) done(copy(kept, "front"), copy(kept, "behind"), kept.width / kept.height)
      return
    }
    this.observer ??= new IntersectionObserver((entries) => entries.forEach((entry) => {
      const asked = this.watched.get(entry.target)
      if (!entry.isIntersecting || !asked) return
      this.observer.unobserve(entry.target)
      this.watched.delete(entry.target)
      this.queue.push(asked)
      this.next()
    }))
    this.watched.set(node, { id, url, done })
    this.observer.observe(node)
  },
  clear() {
    this.observer?.disconnect()
    this.observer = null
    this.watched.clear()
    this.queue.length = 0
  },
  async next() {
    if (this.busy || !this.queue.length) return
    this.busy = true
    const { id, url, done } = this.queue.shift()
    const frame = await grab(url)
    this.cache.set(id, frame)
    if (frame) done(copy(frame, "front"), copy(frame, "behind"), frame.width / frame.height)
    this.busy = false
    this.next()
  },
}

function grab(url) {
  return new Promise((finish) => {
    const video = document.createElement("video")
    const stop = (frame) => {
      clearTimeout(timer)
      video.onloadeddata = video.onseeked = video.onerror = null
      video.removeAttribute("src")
      video.load()
      finish(frame)
    }
    const timer = setTimeout(() => stop(null), 8000)
    video.muted = true
    video.preload = "auto"
    video.onerror = () => stop(null)
    video.onloadedmetadata = () => { video.currentTime = Math.min(1, video.duration / 10 || 0) }
    video.onseeked = () => {
      if (!video.videoWidth) return stop(null)
      const scale = Math.min(1, 640 / video.videoWidth), canvas = document.createElement("canvas")
      canvas.width = Math.round(video.videoWidth * scale)
      canvas.height = Math.round(video.videoHeight * scale)
      canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height)
      stop(canvas)
    }
    video.src = url
  })
}

function copy(canvas, name) {
  const other = make("canvas", name)
  other.width = canvas.width
  other.height = canvas.height
  other.getContext("2d").drawImage(canvas, 0, 0)
  return other
}

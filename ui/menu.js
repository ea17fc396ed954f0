// A menu below a button: arrows, first letters, Escape, and the focus back where it was. Shared by several components:
// the text of this file is put before theirs.

class Menu {
  constructor(home, choose) {
    this.home = home
    this.choose = choose
    this.node = make("div", "pop")
    this.node.setAttribute("role", "menu")
    this.node.hidden = true
    home.append(this.node)
    this.node.addEventListener("keydown", (event) => this.key(event))
    this.outside = (event) => {
      const path = event.composedPath()
      if (this.button && !path.includes(this.node) && !path.includes(this.button)) this.close(false)
    }
    this.resized = () => this.button && this.settle()
    document.addEventListener("pointerdown", this.outside)
    addEventListener("resize", this.resized)
  }

  // Let a button open the menu; `describe` tells, each time, {id, label, entries}.
  serve(button, describe) {
    button.setAttribute("aria-haspopup", "menu")
    button.setAttribute("aria-expanded", "false")
    button.addEventListener("click", () => this.button === button ? this.close(true) : this.open(button, describe()))
    button.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return
      event.preventDefault()
      this.open(button, describe(), event.key === "ArrowUp")
    })
  }

  open(button, { id, label, entries }, last = false) {
    this.close(false)
    this.button = button
    this.id = id
    this.filled = ""
    this.fill(entries)
    this.node.setAttribute("aria-label", label)
    button.setAttribute("aria-expanded", "true")
    this.node.hidden = false
    this.settle()
    this.items().at(last ? -1 : 0)?.focus({ preventScroll: true })
  }

  settle() {
    const home = this.home.getBoundingClientRect(), button = this.button.getBoundingClientRect()
    const height = this.node.offsetHeight, width = this.node.offsetWidth
    const above = button.bottom + height + 12 > innerHeight && button.top - height > 60
    const left = Math.max(8, Math.min(button.right - width + 1, innerWidth - width - 8))
    this.node.style.left = `${left - home.left}px`
    this.node.style.top = `${(above ? button.top - height - 7 : button.bottom + 7) - home.top}px`
  }

  items() { return [...this.node.querySelectorAll("[role=menuitem]")] }

  // Entries are {id, label, href?, note?, danger?}; one with an address is a download.
  fill(entries) {
    const text = JSON.stringify(entries)
    if (text === this.filled) return
    this.filled = text
    const at = this.items().indexOf(this.node.getRootNode().activeElement)
    this.node.replaceChildren(...entries.flatMap((entry) => this.make(entry)))
    if (at >= 0) this.items()[Math.min(at, entries.length - 1)]?.focus()
    if (!this.node.hidden) this.settle()
  }

  make(entry) {
    const item = make(entry.href ? "a" : "button", entry.danger ? "danger" : "")
    item.setAttribute("role", "menuitem")
    item.tabIndex = -1
    item.textContent = entry.label
    if (entry.note) {
      const note = make("small")
      note.textContent = entry.note
      item.append(note)
    }
    if (entry.href) {
      item.href = entry.href
      item.setAttribute("download", "")
    } else {
      item.type = "button"
    }
    item.addEventListener("click", () => {
      const id = this.id
      this.close(true)
      if (!entry.href) this.choose(id, entry.id)
    })
    return entry.danger ? [make("hr"), item] : [item]
  }

  key(event) {
    const items = this.items(), at = items.indexOf(this.node.getRootNode().activeElement)
    const to = { ArrowDown: at + 1, ArrowUp: at - 1 + items.length, Home: 0, End: items.length - 1 }[event.key]
    if (to !== undefined) {
      event.preventDefault()
      items[to % items.length]?.focus()
    } else if (event.key === "Escape") {
      event.preventDefault()
      this.close(true)
    } else if (event.key === "Tab") {
      this.close(true)
    } else if (/^\p{L}$/u.test(event.key) && !event.ctrlKey && !event.metaKey) {
      const after = [...items.slice(at + 1), ...items.slice(0, at + 1)]
      after.find((item) => item.textContent.toLowerCase().startsWith(event.key.toLowerCase()))?.focus()
    } else {
      return
    }
    event.stopPropagation()
  }

  close(back) {
    if (!this.button) return
    const button = this.button
    this.button = this.id = null
    this.node.hidden = true
    button.setAttribute("aria-expanded", "false")
    if (back) button.focus()
  }

  leave() {
    document.removeEventListener("pointerdown", this.outside)
    removeEventListener("resize", this.resized)
  }
}

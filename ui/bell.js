// Puts the news into the tab's title, and takes it out again some seconds after it can have been read.
export default function ({ parentElement: root, data }) {
  if (!data.n || root.__n === data.n) return
  root.__n = data.n
  const [product] = document.title.split(" · ").slice(-1)
  const before = document.title.startsWith(data.text[0] + " ") ? product : document.title
  const title = `${data.text} · ${product}`
  document.title = title
  const restore = () => {
    if (document.hidden) return
    document.removeEventListener("visibilitychange", restore)
    setTimeout(() => { if (document.title === title) document.title = before }, 6000)
  }
  document.addEventListener("visibilitychange", restore)
  restore()
}

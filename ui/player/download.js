// One click takes the video away; the menu beside it holds the other files.
export default function ({ parentElement: root, data }) {
  const home = root.querySelector(".home")
  const main = root.querySelector(".main"), other = root.querySelector(".other")
  if (!root.__menu?.node.isConnected) { // an update of the product brings new nodes
    root.__menu = new Menu(home, () => {})
    root.__menu.serve(other, () => ({ id: "files", label: "Other files to download", entries: root.__data.files }))
  }
  root.__data = data
  main.href = data.href
  set(root.querySelector(".size"), data.size)
  main.setAttribute("aria-label", `Download MP4, ${data.size}`)
  return () => root.__menu.leave()
}

// Two helpers of every component here.

function make(tag, name = "") {
  const node = document.createElement(tag)
  if (name) node.className = name
  return node
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text
}

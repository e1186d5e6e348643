// Makes one tree of elements like another by changing only what differs, so that focus, selection, scroll positions and open menus stay.
// Children are matched by id where they have one, else by their place. What carries data-keep in both belongs to a script and is left alone.

export function morph(from, to) {
  if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) {
    from.replaceWith(document.importNode(to, true));
    return;
  }
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  if ((from.hasAttribute("data-keep") && to.hasAttribute("data-keep")) || from.isEqualNode(to)) return;
  morphAttributes(from, to);
  morphChildren(from, to);
}

function morphAttributes(from, to) {
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value && !isOwn(from, name)) from.setAttribute(name, value);
  }
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !isOwn(from, name)) from.removeAttribute(name);
  }
}

// What the reader, or a script on the reader's behalf, has set since the page came.
function isOwn(element, attribute) {
  return (element.nodeName === "DETAILS" && attribute === "open") || (element.nodeName === "BUTTON" && attribute === "hidden");
}

function morphChildren(from, to) {
  const known = new Map();
  for (const child of from.children) if (child.id) known.set(child.id, child);
  let here = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const id = wanted.nodeType === Node.ELEMENT_NODE ? wanted.id : "";
    const match = id ? known.get(id) : here && !here.id && here.nodeName === wanted.nodeName ? here : null;
    if (!match) {
      from.insertBefore(document.importNode(wanted, true), here);
      continue;
    }
    if (match === here) here = here.nextSibling;
    else from.insertBefore(match, here);
    morph(match, wanted);
  }
  while (here) {
    const next = here.nextSibling;
    here.remove();
    here = next;
  }
}

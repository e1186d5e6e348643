// xterm.js under a policy that forbids styles in a page (`style-src 'self'`): it writes <style> elements and style attributes.
//
// Style sheets that a script constructs, and the CSSOM, are what the policy leaves to scripts that it trusts. So a <style> becomes a stand-in
// whose text goes into such a sheet, and a style attribute is set through the CSSOM. Nothing of this loosens what markup may do.

const createElement = document.createElement.bind(document);
document.createElement = (name, options) => (name === "style" ? standIn() : createElement(name, options));

function standIn() {
  const element = createElement("span");
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets.push(sheet);
  element.hidden = true;
  Object.defineProperty(element, "textContent", { set: (text) => sheet.replaceSync(text) });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}

const setAttribute = Element.prototype.setAttribute;
Element.prototype.setAttribute = function (name, value) {
  if (name === "style") this.style.cssText = value;
  else setAttribute.call(this, name, value);
};

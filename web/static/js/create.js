// The create form shows the request that it stands for, as one types. The server makes it: there is one translation of the form, not two.

import { morph } from "./morph.js";
import { dress } from "./small.js";

const PAUSE = 250;

export function start() {
  const form = document.getElementById("create");
  const place = document.getElementById("request");
  const button = document.getElementById("show-request");
  if (!form || !place || !button) return;
  let shown = place.childElementCount > 0;
  let waiting = 0;
  let asked = 0;

  const press = () => button.setAttribute("aria-pressed", String(shown));
  const refresh = async () => {
    const mine = (asked += 1);
    const fields = new URLSearchParams(new FormData(form));
    fields.append("preview", "on");
    const answer = await fetch(form.action, { method: "POST", headers: { accept: "text/html" }, body: fields });
    if (answer.redirected) return location.reload();
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const wanted = page.getElementById("request");
    if (mine !== asked || !shown || !wanted) return;
    // A form that cannot be read yet has no request: what was shown last stays until it can.
    if (wanted.childElementCount > 0 || place.childElementCount === 0) morph(place, wanted);
    dress(place);
  };

  button.addEventListener("click", (event) => {
    event.preventDefault();
    shown = !shown;
    press();
    if (shown) refresh().then(() => place.scrollIntoView({ block: "nearest" }));
    else place.replaceChildren();
  });
  form.addEventListener("input", () => {
    if (!shown) return;
    clearTimeout(waiting);
    waiting = setTimeout(refresh, PAUSE);
  });
  press();
}

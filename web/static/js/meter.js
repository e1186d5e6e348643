// One figure with its bar, as templates/ui.html draws a gauge.

export function show(place, value, text) {
  if (!place || value == null) return;
  let figure = place.querySelector(".gauge-text b");
  if (!figure && place.dataset.bare !== undefined) figure = place;
  if (!figure) {
    // Nothing was known of it when the page was made.
    const gauge = document.createElement("span");
    gauge.className = "gauge good";
    const line = document.createElement("span");
    line.className = "gauge-text";
    figure = document.createElement("b");
    line.append(figure);
    gauge.append(line);
    place.replaceChildren(gauge);
  }
  figure.textContent = text(value);
  figure.classList.remove("none");
  const gauge = place.querySelector(".gauge");
  const share = value / Number(gauge?.dataset.limit ?? NaN);
  if (!Number.isFinite(share)) return;
  place.querySelector(".bar-fill")?.setAttribute("width", `${Math.min(100, share * 100).toFixed(1)}%`);
  gauge.classList.remove("good", "warn", "bad");
  gauge.classList.add(share >= 0.95 ? "bad" : share >= 0.8 ? "warn" : "good");
}

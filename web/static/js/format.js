// Figures as src/format.rs writes them; the words come with the page.

const words = document.body.dataset;
const [DAY, HOUR, MINUTE, SECOND] = (words.units ?? "d,h,min,s").split(",");
const UNITS = [[86400, DAY], [3600, HOUR], [60, MINUTE], [1, SECOND]];

function significant(value) {
  if (value >= 100) return value.toFixed(0);
  return String(Number(value.toFixed(value < 10 ? 2 : 1)));
}

export function bytes(value) {
  if (value < 1024) return `${value} B`;
  const units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let unit = 0;
  value /= 1024;
  while (value >= 1023.95 && unit + 1 < units.length) {
    value /= 1024;
    unit += 1;
  }
  return `${significant(value)} ${units[unit]}`;
}

export function cores(value) {
  return String(Number(value.toFixed(value < 0.1 ? 3 : 2)));
}

export function count(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

export function duration(seconds) {
  const first = Math.max(0, UNITS.findIndex(([size]) => seconds >= size));
  const at = seconds < 1 ? UNITS.length - 1 : first;
  const [size, unit] = UNITS[at];
  const whole = Math.floor(seconds / size);
  const next = UNITS[at + 1];
  const rest = next && whole < 30 ? Math.floor((seconds % size) / next[0]) : 0;
  return rest > 0 ? `${whole} ${unit} ${rest} ${next[1]}` : `${whole} ${unit}`;
}

export function relative(iso) {
  const age = Math.round((Date.now() - Date.parse(iso)) / 1000);
  if (Number.isNaN(age)) return null;
  if (age === 0) return words.now;
  const text = age < 0 ? words.ahead : words.ago;
  return text.replace("{time}", duration(Math.abs(age)));
}

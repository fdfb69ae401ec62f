// Elements, numbers for people, and calls to the server. Text is always text: nothing here makes HTML of it.

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "indeterminate") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((each) => each !== null && each !== undefined && each !== false));
  return element;
}

// Changes only if there is a change: a browser paints less, and a screen reader says less.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export const count = (number) => number.toLocaleString("en");

export function counted(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function size(bytes) {
  let left = bytes;
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (left < 999.5 || unit === "TB") return `${unit === "B" ? left : left.toFixed(1)} ${unit}`;
    left /= 1000;
  }
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86400).toFixed(1)} days`;
}

export const when = (seconds) => new Date(seconds * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });

export class Refused extends Error {}

// The key comes with the link, behind “#”. A browser keeps it for this port alone, unlike a cookie.
function key() {
  const match = /^#key=(.+)$/.exec(location.hash);
  if (match) {
    localStorage.setItem("key", match[1]);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return localStorage.getItem("key") ?? "";
}

// Asks the server, and gives its answer as it is.
export async function request(path, { headers, ...options } = {}) {
  let answer;
  try {
    answer = await fetch(`/api/${path}`, { ...options, headers: { ...headers, Authorization: `Bearer ${key()}` } });
  } catch {
    throw new Refused("The server does not answer. Is `dataset-dl web` still running?");
  }
  if (answer.ok) return answer;
  const { error, hint, sign_in } = await answer.json();
  const refused = new Refused(`${error} ${hint ?? ""}`.trim());
  refused.mustSignIn = sign_in ?? false;
  throw refused;
}

// Signs in where several people share the server.
export async function signIn(name, password) {
  const answer = await fetch("/api/session", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name, password }) });
  const told = await answer.json();
  if (!answer.ok) throw new Refused(told.error);
  localStorage.setItem("key", told.key);
}

export async function signOut() {
  await fetch("/api/session", { method: "DELETE", headers: { Authorization: `Bearer ${key()}` } });
  localStorage.removeItem("key");
  location.assign("/");
}

export async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return (await request(path, options)).json();
}

// An answer as an address that pictures and downloads can use.
export async function asBlob(path) {
  return URL.createObjectURL(await (await request(path)).blob());
}

// A link that saves what the server makes.
export function saving(path, name, title) {
  const link = h("button", { type: "button", class: "link", onclick: save }, title);
  async function save() {
    link.disabled = true;
    try {
      const address = await asBlob(path);
      h("a", { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    } catch (error) {
      announce(error.message);
      link.after(problem(error));
    }
    link.disabled = false;
  }
  return link;
}

// Says something for everybody, also for those who hear the page.
export function announce(text) {
  say(document.getElementById("said"), text);
}

export function problem(error) {
  return h("p", { class: "problem", role: "alert" }, error.message);
}

export function copyable(label, text) {
  const button = h("button", { type: "button", class: "small", onclick: copy }, "Copy");
  async function copy() {
    await navigator.clipboard.writeText(text);
    say(button, "Copied");
  }
  return h("figure", { class: "code" }, h("figcaption", {}, label, button), h("pre", { tabindex: 0, "aria-label": label }, text));
}

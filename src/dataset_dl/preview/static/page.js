// Series: slices and slides, read from the store as they are looked at; nothing is downloaded.

import { asBlob, ask, copyable, count, counted, h, problem, say, size } from "/static/dom.js";

const WAIT_MS = 60;
const WITHOUT_PICTURES = new Set(["SR", "RTSTRUCT", "RTPLAN", "KO", "PR", "REG", "ANN", "DOC", "M3D"]);

export async function show(root, { rest, about: site }) {
  const id = decodeURIComponent(rest);
  const title = h("h1", {}, "Series");
  root.append(title);
  if (!id) {
    root.append(h("p", {}, "Choose a series on ", h("a", { href: "/explore" }, "Explore"), ", under Series."));
    return {};
  }
  const waiting = h("p", { class: "quiet", role: "status" }, "Reading its headers from the store…");
  root.append(waiting);
  let series;
  try {
    series = await ask(`series/${id}`);
  } finally {
    waiting.remove();
  }
  const about = series.about;
  say(title, [about.Modality, about.SeriesDescription || series.title].filter(Boolean).join(" · "));
  root.append(
    h("p", { class: "quiet" }, [about.collection_id, about.PatientID, about.StudyDate, `${counted(series.instances, "file")}`, about.size_bytes ? size(about.size_bytes) : ""].filter(Boolean).join(" · ")),
    ...[...series.remarks, ...series.problems].map((each) => h("p", { class: "problem" }, each)));
  const view = series.levels.length ? new Slide(id, series) : new Slices(id, series, !WITHOUT_PICTURES.has(about.Modality));
  const hasVolume = series.frames > 2 && !series.levels.length && site.pages.some((page) => page.name === "volume");
  const cost = h("p", { class: "quiet", hidden: !series.requests }, `Looked at with ${counted(series.requests, "request")} and ${size(series.received_bytes)} so far.`);
  root.append(view.root, cost, h("section", { class: "card" }, h("h2", {}, "The same elsewhere"),
    copyable("In a shell", `dataset-dl preview mosaic ${id} -o mosaic.png\ndataset-dl idc download ${id} --to data`),
    copyable("In Python", `import dataset_dl as dd\n\nwith dd.look("${id}") as view:\n    view.mosaic()`)),
    h("p", { class: "buttons" }, h("a", { class: "button", href: `/cohort?id=${encodeURIComponent(id)}` }, "Download this series"),
      hasVolume ? h("a", { href: `/volume/${encodeURIComponent(id)}` }, "As a volume, once it is on this disk") : null));
  return {};
}

// Shows a picture when it is there, and only the last of those that were asked for.
class Picture {
  constructor(label) {
    this.image = h("img", { alt: label, class: "picture" });
    this.trouble = h("div");
    this.root = h("div", { class: "frame" }, this.image, this.trouble);
  }

  show(address) {
    this.wanted = address;
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.load(address), this.image.src ? WAIT_MS : 0);
  }

  async load(address) {
    this.root.setAttribute("aria-busy", "true");
    try {
      const picture = await asBlob(address);
      if (this.wanted !== address) return URL.revokeObjectURL(picture);
      URL.revokeObjectURL(this.image.src);
      this.image.src = picture;
      this.trouble.replaceChildren();
    } catch (error) {
      if (this.wanted === address) this.trouble.replaceChildren(problem(error));
    }
    if (this.wanted === address) this.root.removeAttribute("aria-busy");
  }
}

class Slices {
  constructor(id, series, hasPictures) {
    this.id = id;
    this.series = series;
    this.hasPictures = hasPictures;
    this.picture = new Picture("Slice");
    this.sheet = new Picture("Slices, evenly chosen");
    const last = series.frames - 1;
    this.slider = h("input", { type: "range", id: "slice", min: 0, max: Math.max(0, last), value: Math.floor(last / 2), oninput: () => this.paint() });
    this.where = h("output", { for: "slice" });
    this.contrast = h("select", { id: "contrast", onchange: () => this.repaint() }, ...["default", "auto", "embedded", ...series.presets].map((name) => h("option", { value: name }, name)));
    this.window = h("input", { id: "window", placeholder: "1500/-500", onchange: () => this.repaint() });
    this.header = h("details", { class: "card", ontoggle: () => this.fillHeader() }, h("summary", {}, "Header of this slice"), this.rows = h("div", { class: "scrolls" }));
    this.header.open = !hasPictures;
    const choosing = [h("label", { for: "slice" }, hasPictures ? "Slice " : "File "), this.slider, this.where];
    if (!hasPictures) {
      this.root = h("div", {}, h("p", {}, "This kind of series has no pictures of its own."), ...(last ? choosing : []), this.header);
      this.paint();
      return;
    }
    this.root = h("div", { class: "viewing" },
      h("div", {}, this.picture.root, ...choosing,
        h("div", { class: "choices" }, h("label", { for: "contrast" }, "Contrast"), this.contrast, h("label", { for: "window" }, "or width/level"), this.window), this.header),
      h("div", {}, this.sheet.root));
    this.repaint();
  }

  get shown() {
    return new URLSearchParams({ contrast: this.window.value.trim() || this.contrast.value });
  }

  repaint() {
    this.sheet.show(`series/${this.id}/mosaic?${this.shown}&columns=5&rows=5&width=144`);
    this.paint();
  }

  paint() {
    const number = Number(this.slider.value);
    const place = this.series.positions[number];
    say(this.where, `${number + 1} of ${count(this.series.frames)}${place === null || place === undefined ? "" : `, at ${place.toFixed(1)} mm`}`);
    if (this.header.open) this.fillHeader();
    if (!this.hasPictures) return;
    this.picture.image.alt = `Slice ${number + 1} of ${this.series.frames}`;
    this.picture.show(`series/${this.id}/image?${this.shown}&position=${number}&width=768`);
  }

  async fillHeader() {
    if (!this.header.open) return;
    const number = this.slider.value;
    try {
      const rows = await ask(`series/${this.id}/header?position=${number}`);
      if (number !== this.slider.value) return;
      this.rows.replaceChildren(table(["Tag", "VR", "Keyword", "Value"], rows.map((each) => each.map((value) => (typeof value === "object" && value ? JSON.stringify(value) : String(value ?? ""))))));
    } catch (error) {
      this.rows.replaceChildren(problem(error));
    }
  }
}

class Slide {
  constructor(id, series) {
    this.id = id;
    this.picture = new Picture("The slide");
    const small = series.levels.filter((level) => level.width * level.height < 4e7);
    this.level = h("select", { id: "level", onchange: () => this.paint() }, ...small.map((level) => h("option", { value: level.name }, `${Number.isNaN(Number(level.name)) ? level.name : `level ${level.name}`} (${count(level.width)} × ${count(level.height)})`)));
    this.detail = new Picture("A part of the slide at full resolution");
    this.largest = series.levels.find((level) => level.name === "0") ?? series.levels[0];
    this.picture.image.addEventListener("click", (event) => this.zoom(event));
    this.root = h("div", { class: "viewing" }, h("div", {}, this.picture.root, h("label", { for: "level" }, "Image "), this.level, h("p", { class: "quiet" }, "Click on it to see that place at full resolution.")), h("div", {}, this.detail.root));
    if (small.length) this.paint();
    this.tile(Math.floor(this.largest.width / this.largest.tile_width / 2), Math.floor(this.largest.height / this.largest.tile_height / 2));
  }

  paint() {
    this.picture.show(`series/${this.id}/slide?level=${this.level.value}&width=1024`);
  }

  zoom(event) {
    if (Number.isNaN(Number(this.level.value))) return;
    const box = this.picture.image.getBoundingClientRect();
    const at = (part, whole, step) => Math.min(Math.floor((part * whole) / step), Math.ceil(whole / step) - 1);
    this.tile(at((event.clientX - box.left) / box.width, this.largest.width, this.largest.tile_width), at((event.clientY - box.top) / box.height, this.largest.height, this.largest.tile_height));
  }

  tile(column, row) {
    this.detail.show(`series/${this.id}/tile?level=${this.largest.name}&column=${column}&row=${row}`);
  }
}

function table(titles, rows) {
  return h("table", { class: "elements" }, h("caption", {}, "Header"), h("thead", {}, h("tr", {}, ...titles.map((title) => h("th", { scope: "col" }, title)))), h("tbody", {}, ...rows.map((cells) => h("tr", {}, ...cells.map((cell) => h("td", {}, cell))))));
}

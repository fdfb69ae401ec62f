// Volume: a series on this disk in three planes and in space.

import { asBlob, ask, h, problem } from "/static/dom.js";

const LAYOUTS = { multiplanar: "Three planes", axial: "Axial", coronal: "Coronal", sagittal: "Sagittal", render: "In space" };

export async function show(root, { rest }) {
  const id = decodeURIComponent(rest);
  root.append(h("h1", {}, "Volume"), h("p", {}, h("a", { href: `/series/${id}` }, "The slices of this series")));
  const { viewer } = await ask("viewer");
  if (!viewer) {
    root.append(h("p", { class: "problem" }, "The viewer is not on this machine. `dataset-dl web --fetch-viewer` fetches it, once."));
    return {};
  }
  const status = h("p", { role: "status" }, "Making the volume…");
  const canvas = h("canvas", { class: "volume", tabindex: 0, "aria-label": "The volume; arrow keys move through it" });
  const layout = h("select", { id: "layout" }, ...Object.entries(LAYOUTS).map(([value, title]) => h("option", { value }, title)));
  root.append(status, h("div", { class: "choices" }, h("label", { for: "layout" }, "Show "), layout), h("div", { class: "canvas" }, canvas));
  try {
    const [address] = await Promise.all([asBlob(`volume/${encodeURIComponent(id)}`), loaded("/viewer/niivue.js")]);
    const { Niivue, SLICE_TYPE } = globalThis.niivue;
    const view = new Niivue({ backColor: [0, 0, 0, 1], show3Dcrosshair: true, isResizeCanvas: true, logLevel: "silent" });
    await view.attachToCanvas(canvas);
    await view.loadVolumes([{ url: address, name: "volume.nii.gz" }]);
    const types = { multiplanar: SLICE_TYPE.MULTIPLANAR, axial: SLICE_TYPE.AXIAL, coronal: SLICE_TYPE.CORONAL, sagittal: SLICE_TYPE.SAGITTAL, render: SLICE_TYPE.RENDER };
    layout.addEventListener("change", () => view.setSliceType(types[layout.value]));
    const size = view.volumes[0].dims.slice(1, 4).join(" × ");
    status.textContent = `${size} voxels. Drag with the right button for another contrast.`;
    canvas.dataset.ready = size;
  } catch (error) {
    status.replaceChildren(problem(error));
  }
  return {};
}

// The viewer is a script of the older kind, which leaves a global name.
function loaded(address) {
  if (globalThis.niivue) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const script = h("script", { src: address, onload: resolve, onerror: () => reject(new Error("The viewer cannot be loaded.")) });
    document.head.append(script);
  });
}

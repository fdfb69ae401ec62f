// Pseudonyms before anything leaves the machine: the same bytes as by dataset_dl.pseudonyms, whose names are here, too.

const UNDEFINED = 0xffffffff;
const ITEM = 0xfffee000, ITEM_END = 0xfffee00d, SEQUENCE_END = 0xfffee0dd;
const MODALITY = 0x00080060, IMAGE_TYPE = 0x00080008, BURNED_IN = 0x00280301, OVERLAY_BIT = 0x60000102;
const SYNTAX = 0x00020010, CHARACTERS = 0x00080005, PATIENT_ID = 0x00100020, CODES = 0x00120064, PIXELS = 0x7fe00010;
const UIDS = new Map([[0x00080016, "SOPClassUID"], [0x00080018, "SOPInstanceUID"], [0x0020000d, "StudyInstanceUID"], [0x0020000e, "SeriesInstanceUID"]]);
const IMPLICIT = "1.2.840.10008.1.2", DEFLATED = "1.2.840.10008.1.2.1.99", BIG = "1.2.840.10008.1.2.2";
const OF_THE_STANDARD = "1.2.840.10008.";
const MOST_DEPTH = 64, SHORTEST_KEY = 16, LONGEST_SHORT = 0xffff;

const several = (text) => new Set(text.split(" "));
const LONG = several("OB OD OF OL OV OW SQ SV UC UN UR UT UV");
const SHORT = several("AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US");
const PADDED_BY_ZERO = several("UI OB UN");
// In what a dummy replaces as a whole, like the content of a report, all of these go.
const FREE = several("AE LO LT PN SH ST UC UR UT UN OB");
const DUMMIES = { AS: "000Y", CS: "REMOVED", DA: "19000101", DS: "0", DT: "19000101", IS: "0", TM: "000000", UR: "urn:removed" };
const ZEROS = { US: 2, SS: 2, UL: 4, SL: 4, FL: 4, AT: 4, FD: 8, SV: 8, UV: 8, OB: 2, OW: 2, OF: 4, OL: 4, OD: 8, OV: 8, UN: 2 };
// Machines of these modalities write names into their pictures, and seldom say so.
const USUALLY_BURNED_IN = several("US IVUS ES GM XC OT DOC ECG EPS HD RESP");
const OF_SCREENS = ["SCREEN SAVE", "SCREENSHOT", "SCREENSAVE", "SCREEN_SAVE"];
const SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7", DOCUMENTS = "1.2.840.10008.5.1.4.1.1.104.";

// Character sets → labels for their upper halves; without a label, browsers and Python do not quite agree.
const SETS = new Map([["", "latin1"], ["ISO_IR 192", "utf-8"]]);
for (const [number, label] of Object.entries({
  6: "latin1", 13: "shift_jis", 100: "latin1", 101: "iso-8859-2", 109: "iso-8859-3", 110: "iso-8859-4", 126: "iso-8859-7", 127: "iso-8859-6",
  138: "iso-8859-8", 144: "iso-8859-5", 148: "iso-8859-9", 166: "windows-874",
})) SETS.set(`ISO_IR ${number}`, label).set(`ISO 2022 IR ${number}`, label);
for (const name of ["GB18030", "GBK", "ISO 2022 GBK", "ISO 2022 58", ...[58, 87, 149, 159].map((each) => `ISO 2022 IR ${each}`)]) SETS.set(name, null);

export async function show() {}

class Unreadable extends Error {}

const CUT_OFF = "it is cut off", TOO_DEEP = "its sequences are nested too deeply";
const at = (place) => `, at byte ${place.toLocaleString("en")}`;
const misplaced = (place) => new Unreadable(`it has an item outside a sequence${at(place)}`);
const endless = (place) => new Unreadable(`a sequence does not end${at(place)}`);
const garbled = (place) => new Unreadable(`it is not encoded as its transfer syntax says${at(place)}`);

// What a view cannot read because it ends before is a file that is cut off.
function wholly(read) {
  try {
    return read();
  } catch (error) {
    throw error instanceof RangeError ? new Unreadable(CUT_OFF) : error;
  }
}

const bytesOf = (text) => new TextEncoder().encode(text);
const stripped = (text) => text.replace(/^[\0 ]+|[\0 ]+$/g, "");
// As Python strips ASCII, which takes separators for blanks, too.
const trimmed = (text) => text.replace(/^[\t-\r\x1c- ]+|[\t-\r\x1c- ]+$/g, "");

// Bytes beyond ASCII become signs of replacement.
function asciiOf(value) {
  let text = "";
  for (const byte of value) text += byte < 128 ? String.fromCharCode(byte) : "\ufffd";
  return text;
}

const textOf = (value) => stripped(asciiOf(value));

function joined(chunks) {
  const whole = new Uint8Array(chunks.reduce((size, each) => size + each.length, 0));
  let place = 0;
  for (const each of chunks) {
    whole.set(each, place);
    place += each.length;
  }
  return whole;
}

// The key: the same patient, UID and interval get the same pseudonym in every program.
export async function keyOf(secretText) {
  if (!globalThis.crypto?.subtle) throw new Error("Browsers compute pseudonyms only on pages that come by https, or from the same machine.");
  const secret = bytesOf(secretText.trim()); // as the commands read it from a file or the environment
  if (secret.length < SHORTEST_KEY) {
    throw new Error(`The key for pseudonyms has ${secret.length} characters, which could be guessed. Use at least ${SHORTEST_KEY}, like those that \`openssl rand -hex 32\` prints.`);
  }
  const sign = await hmac(await (await hmac(bytesOf("dataset-dl pseudonyms 1")))(secret));
  const digest = async (purpose, text, size) => (await sign(bytesOf(`${purpose}\0${text}`))).subarray(0, size);
  return {
    uid: async (text) => (!text || text.startsWith(OF_THE_STANDARD) ? text : `2.25.${number(await digest("uid", text, 16))}`),
    pseudonym: async (patientId) => base32(await digest("patient", patientId, 10)),
    days: async (patientId) => -(365 + Number(number(await digest("dates", patientId, 8)) % 3650n)),
  };
}

async function hmac(secret) {
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return async (data) => new Uint8Array(await crypto.subtle.sign("HMAC", key, data));
}

const number = (bytes) => bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);

function base32(bytes) {
  const all = number(bytes);
  return Array.from({ length: 16 }, (_, place) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[Number((all >> BigInt(75 - 5 * place)) & 31n)]).join("");
}

export function rulesOf(json) {
  return { ...json, actions: byTag(json.actions), vrs: byTag(json.vrs) };
}

function byTag(tagsOf) {
  return new Map(Object.entries(tagsOf).flatMap(([what, tags]) => tags.split(" ").map((tag) => [parseInt(tag, 16), what])));
}

// A date, or a date and time (PS3.5, 6.2), with the part of a second and the time zone; and a time of the day.
const DATE = /^(\d{4})(?:(\d\d)(?:(\d\d)(\d\d(?:\d\d(?:\d\d(?:\.\d{1,6})?)?)?(?:[+-]\d{4})?)?)?)?([+-]\d{4})?$/;
const TIME = /^[0-9:.\\ -]*$/;

// A date, or a date and time, some days later and as precise as it was; null for what is no date.
function moved(text, days) {
  const told = stripped(text);
  if (!told) return "";
  const match = /^(\d{4})\.(\d\d)\.(\d\d)$/.exec(told) ?? DATE.exec(told);
  if (!match) return null;
  const [, year, month, day, rest = "", zone = ""] = match;
  const then = new Date(0);
  then.setUTCFullYear(year, (month ?? 1) - 1, day ?? 1);
  if (!Number(year) || then.getUTCMonth() + 1 !== Number(month ?? 1) || then.getUTCDate() !== Number(day ?? 1)) return null;
  then.setUTCDate(then.getUTCDate() + days);
  if (then.getUTCFullYear() < 1 || then.getUTCFullYear() > 9999) return null;
  return then.toISOString().slice(0, 10).replaceAll("-", "").slice(0, day ? 8 : month ? 6 : 4) + rest + zone;
}

const little = (number) => [number & 255, number >>> 8 & 255, number >>> 16 & 255, number >>> 24];

function header(tag, vr, length, isImplicit) {
  const name = [...little(tag >>> 16).slice(0, 2), ...little(tag).slice(0, 2)], size = little(length);
  if (isImplicit) return Uint8Array.of(...name, ...size);
  if (LONG.has(vr)) return Uint8Array.of(...name, ...bytesOf(vr), 0, 0, ...size);
  if (length > LONGEST_SHORT) throw new Unreadable(CUT_OFF);
  return Uint8Array.of(...name, ...bytesOf(vr), ...size.slice(0, 2));
}

// An element; its value is padded to an even length.
function encoded(tag, vr, value, isImplicit) {
  const padding = value.length & 1 && vr !== "SQ" ? [Uint8Array.of(PADDED_BY_ZERO.has(vr) ? 0 : 0x20)] : [];
  return joined([header(tag, vr, value.length + padding.length, isImplicit), value, ...padding]);
}

const item = (content) => joined([header(ITEM, "", content.length, true), content]);

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  tag(place) {
    return this.view.getUint16(place, true) * 0x10000 + this.view.getUint16(place + 2, true);
  }

  implicit(place) {
    return { tag: this.tag(place), vr: "", length: this.view.getUint32(place + 4, true), begin: place + 8 };
  }

  explicit(place) {
    const tag = this.tag(place), length = this.view.getUint16(place + 6, true);
    const vr = String.fromCharCode(this.bytes[place + 4], this.bytes[place + 5]);
    return LONG.has(vr) ? { tag, vr, length: this.view.getUint32(place + 8, true), begin: place + 12 } : { tag, vr, length, begin: place + 8 };
  }

  // Returns the offset behind a sequence, or fragments of pixels, of unknown length; `behind` tells that of an item.
  skipped(begin, end, behind) {
    for (let place = begin; ;) {
      const item = this.implicit(place);
      if (item.tag === SEQUENCE_END) return item.begin;
      if (item.tag !== ITEM) throw endless(place);
      place = item.length === UNDEFINED ? behind(item.begin) : item.begin + item.length;
      if (place > end) throw new Unreadable(CUT_OFF);
    }
  }
}

// Which instance it is, and whether it is whole. Unlike a walk for pseudonyms, it takes any capitals for a VR.
class Identity extends Reader {
  found = new Map();

  read(place, isImplicit) {
    if (isImplicit) return this.implicit(place);
    const element = this.explicit(place);
    if (element.tag >>> 16 !== 0xfffe && (/[a-z]/.test(element.vr) || !/[A-Z]/.test(element.vr))) throw garbled(place);
    return element;
  }

  // Returns the transfer syntax, and where the data set begins.
  meta() {
    let place = 132, syntax = "";
    while (place < this.bytes.length && this.bytes[place] === 2 && this.bytes[place + 1] === 0) {
      const { tag, length, begin } = this.read(place, false);
      if (length === UNDEFINED || begin + length > this.bytes.length) throw new Unreadable(CUT_OFF);
      place = begin + length;
      if (tag === SYNTAX) syntax = textOf(this.bytes.subarray(begin, place));
    }
    if (!syntax) throw new Unreadable("its header has no TransferSyntaxUID");
    return [syntax, place];
  }

  // Walks to the end of a data set, or of an item of unknown length; returns the offset behind it.
  elements(from, end, depth, isImplicit) {
    if (depth > MOST_DEPTH) throw new Unreadable(TOO_DEEP);
    let place = from;
    while (place < end) {
      const { tag, vr, length, begin } = this.read(place, isImplicit);
      if (tag === ITEM_END && depth) return place + 8;
      if (tag >>> 16 === 0xfffe) throw misplaced(place);
      const isOpen = length === UNDEFINED;
      place = isOpen ? this.skipped(begin, end, (item) => this.elements(item, end, depth + 1, isImplicit || vr === "UN")) : begin + length;
      if (place > end) throw new Unreadable(CUT_OFF);
      if (!depth && !isOpen && (UIDS.has(tag) || tag === PATIENT_ID || tag === CHARACTERS)) this.found.set(tag, this.bytes.subarray(begin, place));
    }
    return place;
  }

  told() {
    const value = (tag) => this.found.get(tag) ?? new Uint8Array();
    const texts = Object.fromEntries([...UIDS].map(([tag, name]) => [name, textOf(value(tag))]));
    for (const [name, uid] of Object.entries(texts)) if (!/^(?=\.*\d)[\d.]{1,64}$/.test(uid)) throw new Unreadable(`it has no valid ${name}`);
    return { ...texts, PatientID: patient(value(PATIENT_ID), asciiOf(value(CHARACTERS))) };
  }
}

function patient(value, characters) {
  if (value.every((byte) => byte < 128)) return textOf(value);
  const name = characters.split("\\").map(trimmed).findLast((each) => SETS.has(each)) ?? "";
  const label = SETS.get(name);
  if (label === "utf-8") return stripped(new TextDecoder(label, { ignoreBOM: true }).decode(value));
  const isJapanese = label === "shift_jis"; // of which only katakana have one byte, as the standard has it
  if (!label || (isJapanese && value.some((byte) => byte > 127 && (byte < 0xa1 || byte > 0xdf)))) {
    throw new Unreadable(`its PatientID is in the character set ${name}, which a browser does not read exactly; use \`dataset-dl pseudonymise\``);
  }
  const decoder = new TextDecoder(label);
  return stripped(Array.from(value, (byte) => character(byte, decoder)).join(""));
}

// Browsers take these sets for those of Windows, which differ below 0xa0; and Thai has gaps.
function character(byte, decoder) {
  if (byte < 0xa0) return String.fromCharCode(byte);
  const made = decoder.decode(Uint8Array.of(byte));
  return decoder.encoding === "windows-874" && !/[\u0e01-\u0e5b]/.test(made) ? "\ufffd" : made;
}

// Says what takes the place of each element.
class Walk extends Reader {
  uids = new Map();
  told = new Map();

  constructor(bytes, rules, days) {
    super(bytes);
    this.rules = rules;
    this.days = days;
  }

  read(place, isImplicit) {
    const element = isImplicit ? this.implicit(place) : this.explicit(place);
    if (isImplicit) return { ...element, vr: this.known(element.tag) || "UN" };
    if (SHORT.has(element.vr) || LONG.has(element.vr)) return element;
    if (element.tag >>> 16 === 0xfffe) return this.implicit(place);
    throw garbled(place);
  }

  // Browsers compute digests only in the meantime, which would slow a walk down: the first one collects the UIDs.
  async all(key, isImplicit) {
    wholly(() => this.level(0, this.bytes.length, 0, isImplicit, false));
    await Promise.all([...this.uids.keys()].map(async (uid) => this.uids.set(uid, await key.uid(uid))));
    return wholly(() => this.level(0, this.bytes.length, 0, isImplicit, false))[0];
  }

  known = (tag) => this.rules.vrs.get(tag) ?? "";

  // Returns tag → the element in its place, and the offset behind the data set, or the item.
  level(from, end, depth, isImplicit, isDummy) {
    if (depth > MOST_DEPTH) throw new Unreadable(TOO_DEEP);
    const found = new Map();
    let place = from;
    while (place < end) {
      const element = this.read(place, isImplicit), { tag, vr, length, begin } = element;
      if (tag === ITEM_END && depth) return [found, begin];
      if (tag >>> 16 === 0xfffe) throw misplaced(place);
      const isOpen = length === UNDEFINED;
      const behind = isOpen ? this.past(begin, end, depth, isImplicit || vr === "UN") : begin + length;
      if (behind > end) throw new Unreadable(CUT_OFF);
      if (!depth) this.tell(element, behind);
      const made = this.made({ ...element, place, behind, end: isOpen ? end : behind }, depth, isImplicit, isDummy);
      if (made) found.set(tag, made);
      place = behind;
    }
    return [found, place];
  }

  // Notes what tells whether a file is held back.
  tell({ tag, vr, begin }, behind) {
    const isOverlay = (tag & 0xff00ffff) === OVERLAY_BIT;
    if (!isOverlay && tag !== MODALITY && tag !== IMAGE_TYPE && tag !== BURNED_IN) return;
    const value = this.bytes.subarray(begin, behind);
    const said = vr === "US" ? String((value[0] ?? 0) | (value[1] ?? 0) << 8) : textOf(value);
    // Of several overlays the one counts that is among the bits.
    if (!isOverlay) this.told.set(tag, said);
    else if (["0", ""].includes(this.told.get(OVERLAY_BIT) ?? "0")) this.told.set(OVERLAY_BIT, said);
  }

  action(tag, vr, known) {
    const group = tag >>> 16;
    // What belongs to messages, files and directories; lengths of groups; curves and overlays; what nobody knows, or
    // is no sequence where there should be one.
    if (group < 8 || !known || (known === "SQ") !== (vr === "SQ")) return "remove";
    if (!(tag & 0xffff) || (group >= 0x5000 && group <= 0x501e) || (group >= 0x6000 && group <= 0x601e)) return "remove";
    return this.rules.actions.get(tag) ?? "keep";
  }

  // Returns what takes the place of an element; nothing if it goes, as all that is private does.
  made(element, depth, isImplicit, isDummy) {
    const { tag, begin, place, behind, end } = element;
    if (element.tag >>> 16 & 1) return null;
    const known = this.known(tag);
    const vr = element.vr === "UN" ? known || "UN" : element.vr;
    let action = this.action(tag, vr, known);
    if (action === "remove") return null;
    if (isDummy && FREE.has(vr)) action = "dummy";
    if (vr === "SQ") return this.sequence(element, action, depth, isImplicit, isDummy);
    if (element.length === UNDEFINED && tag !== PIXELS) throw new Unreadable(`an element without a length is no sequence${at(place)}`);
    if (action === "keep") return this.bytes.subarray(place, behind);
    return encoded(tag, vr, this.value(vr, action, this.bytes.subarray(begin, end)), isImplicit);
  }

  sequence({ tag, vr, begin, end }, action, depth, isImplicit, isDummy) {
    if (action === "empty") return encoded(tag, "SQ", new Uint8Array(), isImplicit);
    // What is called UN has items without VRs (PS3.5, 6.2.2), and an end that says so.
    const isUnknown = !isImplicit && vr === "UN";
    const content = this.items(begin, end, depth, isImplicit || isUnknown, isDummy || action === "dummy");
    if (!isUnknown) return encoded(tag, "SQ", content, isImplicit);
    return joined([header(tag, "UN", UNDEFINED, false), content, header(SEQUENCE_END, "", 0, true)]);
  }

  value(vr, action, old) {
    if (action === "empty" || !old.length) return new Uint8Array();
    if (action === "shift" && (vr === "DA" || vr === "DT")) {
      const dates = textOf(old).split("\\").map((each) => moved(each, this.days));
      return bytesOf(dates.includes(null) ? "" : dates.filter(Boolean).join("\\"));
    }
    if (action === "shift" && vr === "TM") return TIME.test(textOf(old)) ? old : new Uint8Array();
    if (vr === "UI") return bytesOf(textOf(old).split("\\").map((each) => this.uid(trimmed(each))).join("\\"));
    return vr in ZEROS ? new Uint8Array(ZEROS[vr]) : bytesOf(DUMMIES[vr] ?? "REMOVED");
  }

  uid(uid) {
    if (!this.uids.has(uid)) this.uids.set(uid, "");
    return this.uids.get(uid);
  }

  // The items of a sequence, rewritten, each with its length.
  items(from, end, depth, isImplicit, isDummy) {
    const parts = [];
    for (let place = from, behind; place < end; place = behind) {
      const { tag, length, begin } = this.implicit(place);
      if (tag === SEQUENCE_END) break;
      if (tag !== ITEM) throw endless(place);
      if (length !== UNDEFINED && begin + length > end) throw new Unreadable(CUT_OFF);
      let found;
      [found, behind] = this.level(begin, length === UNDEFINED ? end : begin + length, depth + 1, isImplicit, isDummy);
      parts.push(item(joined(inOrder(found))));
    }
    return joined(parts);
  }

  // Returns the offset behind a sequence of unknown length, of which nothing is made yet.
  past(begin, end, depth, isImplicit) {
    if (depth > MOST_DEPTH) throw new Unreadable(TOO_DEEP);
    return this.skipped(begin, end, (item) => this.pastItem(item, end, depth, isImplicit));
  }

  pastItem(from, end, depth, isImplicit) {
    for (let place = from; ;) {
      const { tag, vr, length, begin } = this.read(place, isImplicit);
      if (tag === ITEM_END) return begin;
      place = length === UNDEFINED ? this.past(begin, end, depth + 1, isImplicit || vr === "UN") : begin + length;
      if (place > end) throw new Unreadable(CUT_OFF);
    }
  }
}

const inOrder = (found) => [...found.keys()].sort((one, other) => one - other).map((tag) => found.get(tag));

// Says why a file is held back for review; empty if it is not.
function reason(sopClass, told, excluded, allowed) {
  const modality = (told.get(MODALITY) ?? "").toUpperCase(), burnedIn = (told.get(BURNED_IN) ?? "").toUpperCase();
  const isHeld = (what) => !allowed.includes(what);
  if (excluded.includes(modality) && isHeld(modality)) return `its modality is ${modality}`;
  if (sopClass.startsWith(DOCUMENTS) && isHeld("documents")) return "it is an encapsulated document";
  if (isCapture(sopClass, told.get(IMAGE_TYPE) ?? "") && isHeld("secondary-capture")) return "it is a secondary capture";
  if (!["0", ""].includes(told.get(OVERLAY_BIT) ?? "0") && isHeld("overlays")) return "its pixels have an overlay among their bits";
  if (!isHeld("burned-in")) return "";
  if (burnedIn === "YES") return "its pixels have burned-in annotation";
  return USUALLY_BURNED_IN.has(modality) && isHeld(modality) && burnedIn !== "NO" ? `images of the modality ${modality} usually have burned-in annotation` : "";
}

function isCapture(sopClass, imageType) {
  const isOne = sopClass === SECONDARY_CAPTURE || sopClass.startsWith(`${SECONDARY_CAPTURE}.`);
  return isOne || imageType.toUpperCase().split("\\").some((each) => OF_SCREENS.includes(each));
}

// Adds who it is now, and what was done.
function add(found, patientId, rules, isImplicit) {
  const put = (tag, vr, text) => found.set(tag, encoded(tag, vr, bytesOf(text), isImplicit));
  put(0x00100010, "PN", patientId);
  put(0x00100020, "LO", patientId);
  put(0x00120062, "CS", "YES");
  put(0x00120063, "LO", rules.method);
  put(0x00280303, "CS", rules.longitudinal);
  const items = rules.codes.map(([value, meaning]) => {
    const told = [[0x00080100, "SH", value], [0x00080102, "SH", "DCM"], [0x00080104, "LO", meaning]];
    return item(joined(told.map(([tag, vr, text]) => encoded(tag, vr, bytesOf(text), isImplicit))));
  });
  found.set(CODES, encoded(CODES, "SQ", joined(items), isImplicit));
}

// What precedes a data set in a file (PS3.10, 7.1), with nothing of the original.
function meta(sopClass, uid, syntax, [implementation, version]) {
  const texts = [[0x00020002, "UI", sopClass], [0x00020003, "UI", uid], [0x00020010, "UI", syntax], [0x00020012, "UI", implementation], [0x00020013, "SH", version]];
  const body = joined([encoded(0x00020001, "OB", Uint8Array.of(0, 1), false), ...texts.map(([tag, vr, text]) => encoded(tag, vr, bytesOf(text), false))]);
  return joined([new Uint8Array(128), bytesOf("DICM"), encoded(0x00020000, "UL", Uint8Array.from(little(body.length)), false), body]);
}

async function through(stream, bytes) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

async function inflated(body) {
  const isPadded = body.at(-1) === 0; // to an even length, which browsers refuse
  try {
    return await through(new DecompressionStream("deflate-raw"), body).catch((error) => {
      if (!isPadded) throw error;
      return through(new DecompressionStream("deflate-raw"), body.subarray(0, -1));
    });
  } catch {
    throw new Unreadable("its data set cannot be inflated");
  }
}

async function deflated(body) {
  const packed = await through(new CompressionStream("deflate-raw"), body);
  return packed.length & 1 ? joined([packed, new Uint8Array(1)]) : packed;
}

// Returns which instance it is, its transfer syntax, and its data set.
async function identityOf(data) {
  if (asciiOf(data.subarray(128, 132)) !== "DICM") throw new Unreadable("it is no DICOM file");
  const file = new Identity(data);
  const [syntax, begin] = wholly(() => file.meta());
  if (syntax === BIG) throw new Unreadable("it is big-endian, which the standard has retired; convert it first");
  const body = syntax === DEFLATED ? await inflated(data.subarray(begin)) : data.subarray(begin);
  // Deflated bytes have no places in the file; all others are named by theirs.
  const [all, start] = syntax === DEFLATED ? [body, 0] : [data, begin];
  const identity = new Identity(all);
  wholly(() => identity.elements(start, all.length, 0, syntax === IMPLICIT));
  return { ...identity.told(), syntax, body };
}

// Returns a file with pseudonyms, and who it is now; or why it is held back.
export async function pseudonymise(bytes, rules, key, { pseudonym = "", allowed = [] } = {}) {
  const data = ArrayBuffer.isView(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : new Uint8Array(bytes);
  const { syntax, body, ...identity } = await identityOf(data);
  const whose = identity.PatientID || identity.StudyInstanceUID; // which stands in for the patient
  const PatientID = pseudonym || await key.pseudonym(whose);
  const walk = new Walk(body, rules, await key.days(whose));
  const found = await walk.all(key, syntax === IMPLICIT);
  const held = reason(identity.SOPClassUID, walk.told, rules.excluded, allowed);
  if (held) return { held };
  add(found, PatientID, rules, syntax === IMPLICIT);
  const [SOPInstanceUID, StudyInstanceUID, SeriesInstanceUID] = await Promise.all(
    [identity.SOPInstanceUID, identity.StudyInstanceUID, identity.SeriesInstanceUID].map((uid) => key.uid(uid)),
  );
  const before = meta(identity.SOPClassUID, SOPInstanceUID, syntax, rules.implementation);
  const chunks = syntax === DEFLATED ? [await deflated(joined(inOrder(found)))] : inOrder(found);
  return { bytes: joined([before, ...chunks]), SOPInstanceUID, StudyInstanceUID, SeriesInstanceUID, PatientID, whose };
}

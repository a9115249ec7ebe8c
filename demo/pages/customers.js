"use strict";

const API = "/api/mgr/customers";
const HERE = "/mgr/index.html";
const SIGN_IN = "/mgr/sign.html";
const byId = (id) => document.getElementById(id);
const form = byId("form");
let editing = null; // the id of the customer in the form, null when the form adds one

class Problem extends Error {}

function show(id, text) {
  byId(id).textContent = text;
  if (id === "error") byId(id).hidden = !text;
  if (text) byId(id).scrollIntoView({ block: "nearest" }); // on a phone the form is far below the messages
}

// The gateway's "you are not signed in" is HTTP 302 without Location, so that fetch hands it over instead of following
// it. Its body says where to sign in; the page asks to come back here.
function goToSignIn(redirect) {
  const target = new URL(typeof redirect === "string" ? redirect : SIGN_IN, location.href);
  if (!/^https?:$/.test(target.protocol)) throw new Problem("The server gave an unexpected answer.");
  if (!target.searchParams.has("next")) target.search += (target.search ? "&" : "?") + "next=" + HERE;
  location.assign(target.href);
  return new Promise(() => {}); // the page is being left: nothing more is to be shown
}

async function readJson(response) {
  try {
    return await response.json();
  } catch {
    throw new Problem(`The server gave an unexpected answer (status ${response.status}). Please try again.`);
  }
}

async function call(method, path, body) {
  const headers = { Accept: "application/json" };
  if (body) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, cache: "no-store", body: body && JSON.stringify(body) });
  } catch {
    throw new Problem("The server cannot be reached. Please try again.");
  }
  const answer = await readJson(response);
  if (answer && answer.ret === 302) return goToSignIn(answer.redirect);
  if (answer && answer.ret === 0) return answer;
  throw new Problem((answer && answer.msg) || `The server refused (status ${response.status}).`);
}

// Runs one action; what goes wrong is shown, never thrown away.
async function attempt(action) {
  show("error", "");
  show("done", "");
  try {
    await action();
  } catch (problem) {
    show("error", problem instanceof Problem ? problem.message : "The page does not work. Please load it again.");
    if (!(problem instanceof Problem)) console.error(problem);
  }
}

function cell(label, text) {
  const td = document.createElement("td");
  td.dataset.label = label;
  td.textContent = text; // never innerHTML: customers are typed in by people
  return td;
}

function rowButton(text, customer, action) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet small";
  button.textContent = text;
  button.setAttribute("aria-label", `${text} ${customer.name}`);
  button.addEventListener("click", () => attempt(() => action(customer)));
  return button;
}

function row(customer) {
  const tr = document.createElement("tr");
  tr.dataset.id = customer.id;
  const actions = document.createElement("td");
  actions.className = "actions";
  actions.append(rowButton("Edit", customer, edit), rowButton("Delete", customer, remove));
  tr.append(cell("Name", customer.name), cell("Phone", customer.phonenumber), cell("Address", customer.address), actions);
  return tr;
}

async function load() {
  const { retlist } = await call("GET", API);
  byId("rows").replaceChildren(...retlist.map(row));
  byId("empty").hidden = retlist.length > 0;
}

function fillForm(customer) {
  editing = customer ? customer.id : null;
  form.reset();
  for (const field of ["name", "phonenumber", "address"]) form.elements[field].value = customer ? customer[field] : "";
  byId("form-title").textContent = customer ? `Edit ${customer.name}` : "Add a customer";
  byId("save").textContent = customer ? "Save" : "Add";
  byId("cancel").hidden = !customer;
}

function edit(customer) {
  fillForm(customer);
  form.elements.name.focus();
}

async function remove(customer) {
  if (!confirm(`Delete ${customer.name}?`)) return;
  await call("DELETE", `${API}/${customer.id}`);
  if (editing === customer.id) fillForm(null);
  await load();
  show("done", `${customer.name} is deleted.`);
}

async function save() {
  const { name, phonenumber, address } = form.elements;
  const body = { name: name.value, phonenumber: phonenumber.value, address: address.value };
  const changed = editing !== null;
  await (changed ? call("PUT", `${API}/${editing}`, body) : call("POST", API, body));
  fillForm(null);
  await load();
  show("done", changed ? `${body.name} is saved.` : `${body.name} is added.`);
}

async function signOut() {
  let response;
  try {
    // "manual": a redirect means it is done; the page decides by itself where to go then.
    response = await fetch("/auth/logout", { method: "POST", redirect: "manual", cache: "no-store" });
  } catch {
    throw new Problem("The server cannot be reached: you are still signed in.");
  }
  if (!response.ok && response.type !== "opaqueredirect") {
    throw new Problem(`Signing out did not work (status ${response.status}): you are still signed in.`);
  }
  location.assign(SIGN_IN);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("save").disabled = true; // a second click must not add a second customer
  await attempt(save);
  byId("save").disabled = false;
});
byId("cancel").addEventListener("click", () => fillForm(null));
byId("sign-out").addEventListener("click", () => attempt(signOut));
attempt(load);

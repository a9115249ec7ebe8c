"use strict";

const HOME = "/mgr/index.html";
const form = document.getElementById("sign");
const message = document.getElementById("message");
const button = form.querySelector("button");

// Where to go after signing in. Only a plain path of this site: "//host" and "/\host" lead away from it, and so does
// "/<tab>/host", because browsers drop tabs and line breaks from addresses.
function nextPath(search) {
  const next = new URLSearchParams(search).get("next") || "";
  return /^\/(?![/\\])[^\u0000-\u001f\u007f]*$/.test(next) ? next : HOME;
}

function show(text) {
  message.textContent = text;
  message.hidden = !text;
}

// Returns what to tell the user, or "" when signed in.
async function signIn(username, password) {
  let answer;
  try {
    const response = await fetch("/api/mgr/signin", {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify({ username, password }),
    });
    answer = await response.json();
  } catch {
    return "Signing in does not work right now. Please try again in a moment.";
  }
  if (answer && answer.ret === 0) return "";
  if (answer && answer.ret === 1 && typeof answer.msg === "string" && answer.msg) return answer.msg;
  return "The server gave an unexpected answer. Please try again in a moment.";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { username, password } = form.elements;
  if (!username.value || !password.value) {
    show("Please enter your user name and your password.");
    (username.value ? password : username).focus();
    return;
  }
  show("");
  button.disabled = true;
  const problem = await signIn(username.value, password.value);
  if (!problem) {
    location.assign(nextPath(location.search));
    return;
  }
  button.disabled = false;
  show(problem);
  password.select();
});

// Coming back with the browser's Back button restores the page as it was left.
addEventListener("pageshow", () => {
  button.disabled = false;
});

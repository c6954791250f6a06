// The service's routes (docs: /openapi.json). Answers are JSON; what fails is an ApiError.

/** What the service refused: its HTTP status (0: not reached), code and sentence. */
export class ApiError extends Error {
  constructor(status, code, message, retryAfter = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter; // seconds, where the server names them
  }
}

const path = (id, ...rest) => ["v1/jobs", encodeURIComponent(id), ...rest].join("/");

/** Every job, newest first. */
export async function listJobs() {
  const answer = await json(await send("v1/jobs"));
  return answer.jobs ?? answer;
}

export async function getJob(id) {
  return json(await send(path(id)));
}

export async function deleteJob(id) {
  await send(path(id), { method: "DELETE" });
}

export function eventsAddress(id) {
  return path(id, "events");
}

export function imageAddress(id, number, width) {
  return `${path(id, "pages", number, "image")}?width=${width}`;
}

/** {page, revision} as it is stored; `revision` is the ETag to save with. */
export async function getPage(id, number) {
  const answer = await send(path(id, "pages", number));
  return { page: await json(answer), revision: answer.headers.get("ETag") };
}

/** Stores a page's JSON; the new ETag. Throws an ApiError of status 412 if another is stored. */
export async function putPage(id, number, body, revision) {
  const answer = await send(path(id, "pages", number), {
    method: "PUT",
    headers: { "Content-Type": "application/json", "If-Match": revision },
    body,
  });
  return answer.headers.get("ETag") ?? `"${(await json(answer)).revision}"`;
}

/** Reads the line in a box of a page; nothing is stored. */
export async function readBox(id, number, box) {
  const answer = await send(path(id, "pages", number, "read"), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ box }),
  });
  return json(answer);
}

/** A file {blob, name} that the service makes: a result in a format, or the corrections. */
export async function getFile(id, format) {
  const address =
    format === "corrections"
      ? path(id, "corrections")
      : `${path(id, "result")}?format=${encodeURIComponent(format)}`;
  const answer = await send(address);
  const disposition = answer.headers.get("Content-Disposition") ?? "";
  const coded = /filename\*=UTF-8''([^;]+)/i.exec(disposition);
  const plain = /filename="?([^";]+)"?/i.exec(disposition);
  const name = coded ? decodeURIComponent(coded[1]) : plain?.[1];
  return { blob: await answer.blob(), name: name ?? `document.${format}` };
}

/** Uploads a file as a job, `key` once only; `progress` is told the share that was sent. */
export function postJob(file, options, key, progress) {
  const form = new FormData();
  for (const [name, value] of Object.entries(options)) if (value) form.append(name, value);
  form.append("file", file, file.name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch tells nothing of what was sent
    request.open("POST", "v1/jobs");
    request.setRequestHeader("Idempotency-Key", key);
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    };
    request.onerror = () => reject(new ApiError(0, "unreachable", ""));
    request.onload = () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText));
      else {
        const wait = request.getResponseHeader("Retry-After");
        reject(refusal(request.status, request.responseText, wait));
      }
    };
    request.send(form);
  });
}

async function send(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new ApiError(0, "unreachable", "");
  }
  if (!answer.ok) {
    throw refusal(answer.status, await answer.text(), answer.headers.get("Retry-After"));
  }
  return answer;
}

function refusal(status, body, retryAfter) {
  let error = {};
  try {
    error = JSON.parse(body).error ?? {};
  } catch {
    // a proxy's page, not the service's answer: its status says enough
  }
  const seconds = retryAfter === null ? null : Number(retryAfter);
  return new ApiError(status, error.code ?? String(status), error.message ?? "", seconds);
}

async function json(answer) {
  return answer.json();
}

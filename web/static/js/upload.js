// Shows how far an upload is. The form is an ordinary one: without this a browser sends it just the same.

export function start() {
  const form = document.getElementById("upload-form");
  const progress = document.getElementById("upload-progress");
  if (!form || !progress) return;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    const request = new XMLHttpRequest();
    const idle = () => {
      progress.hidden = true;
      button.disabled = false;
    };
    request.upload.onprogress = ({ loaded, total }) => {
      progress.value = total ? loaded / total : 0;
      // All is sent; what is left is the unpacking, which says nothing of its progress.
      if (loaded >= total) progress.removeAttribute("value");
    };
    request.onload = () => {
      const arrived = new URL(request.responseURL);
      // It was taken: go where the answer led. Else the answer is this page with what is wrong.
      if (request.status < 400) location.assign(arrived);
      else {
        const page = new DOMParser().parseFromString(request.responseText, "text/html");
        document.querySelector("main").replaceWith(document.importNode(page.querySelector("main"), true));
        start();
        document.querySelector("main .note, main .problem")?.scrollIntoView({ block: "nearest" });
      }
    };
    request.onerror = idle;
    request.open("POST", form.action);
    request.setRequestHeader("accept", "text/html");
    request.send(new FormData(form));
    progress.hidden = false;
    progress.setAttribute("value", "0");
    button.disabled = true;
  });
}

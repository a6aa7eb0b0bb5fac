// Browsers start no worker for a page that was opened from a file, so the search would need a server.  Here the
// worker's script runs in a hidden frame instead, with the same two messages: to it, and back.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      const inside = frame.contentWindow
      inside.postMessage = (data) => {
        const event = new MessageEvent("message", { data })
        this.dispatchEvent(event)
        if (this.onmessage) this.onmessage(event)
      }
      inside.importScripts = (...urls) => Promise.all(urls.map((each) => this.load(inside, each)))
      this.load(inside, url).then(() => {
        this.inside = inside
        this.waiting.splice(0).forEach((data) => this.postMessage(data))
      })
    }

    load(inside, url) {
      return new Promise((done) => {
        const script = inside.document.createElement("script")
        script.src = new URL(url, document.baseURI)
        script.onload = script.onerror = done
        inside.document.body.append(script)
      })
    }

    postMessage(data) {
      if (!this.inside) this.waiting.push(data)
      else this.inside.dispatchEvent(new this.inside.MessageEvent("message", { data }))
    }

    terminate() {}
  }
}

// The wall's WebSocket: says what is shown, takes messages apart, says what was drawn, and comes back when it breaks.
const FIRST_WAIT_MS = 500;
const MOST_WAIT_MS = 10_000;
const ACK_EVERY_MS = 50;
const WATCH_EVERY_MS = 250;
const LOGGED_OUT = 4401;
const decoder = new TextDecoder();

export class Feed {
  // news(header, jpeg, drawn): a message came; jpeg is a Blob or null, and drawn() is to be called once it is shown.
  // connected(is): whether there is a connection.
  constructor(path, { news, connected }) {
    const address = new URL(path, location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    this.address = address.href;
    this.news = news;
    this.connected = connected;
    this.watched = {};
    this.said = "";
    this.wait = FIRST_WAIT_MS;
  }

  // Shows these cameras and no others: an object of columns by camera. While it is empty, no connection is made.
  watch(cameras) {
    this.watched = cameras;
    if (Object.keys(cameras).length === 0) this.#say();
    else if (this.socket === undefined && this.again === undefined) this.#connect();
    else this.saying ??= setTimeout(() => this.#say(), WATCH_EVERY_MS);
  }

  #connect() {
    this.again = undefined;
    if (Object.keys(this.watched).length === 0) return;
    const socket = new WebSocket(this.address);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.received = this.drawn = this.acknowledged = 0;
    this.pending = new Set();
    this.said = "";
    socket.onopen = () => {
      this.connected(true);
      this.#say();
    };
    socket.onmessage = ({ data }) => this.#take(socket, data);
    socket.onclose = ({ code }) => this.#closed(socket, code);
  }

  #say() {
    clearTimeout(this.saying);
    this.saying = undefined;
    const said = JSON.stringify({ watch: this.watched });
    if (this.socket?.readyState !== WebSocket.OPEN || said === this.said) return;
    this.said = said;
    this.socket.send(said);
  }

  #take(socket, data) {
    if (socket !== this.socket) return;
    const length = new DataView(data).getUint32(0);
    const header = JSON.parse(decoder.decode(new Uint8Array(data, 4, length)));
    const jpeg = data.byteLength > 4 + length ? new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }) : null;
    this.wait = FIRST_WAIT_MS;
    this.received = header.number;
    this.pending.add(header.number);
    this.news(header, jpeg, () => this.#drawn(socket, header.number));
  }

  #drawn(socket, number) {
    if (socket !== this.socket) return;
    this.pending.delete(number);
    // All below the oldest that is not drawn yet.
    this.drawn = this.pending.size > 0 ? Math.min(...this.pending) - 1 : this.received;
    this.acking ??= setTimeout(() => this.#acknowledge(), ACK_EVERY_MS);
  }

  #acknowledge() {
    this.acking = undefined;
    if (this.socket?.readyState !== WebSocket.OPEN || this.drawn <= this.acknowledged) return;
    this.acknowledged = this.drawn;
    this.socket.send(JSON.stringify({ ack: this.drawn }));
  }

  #closed(socket, code) {
    if (socket !== this.socket) return;
    this.socket = undefined;
    this.connected(false);
    if (code === LOGGED_OUT) location.reload();
    if (Object.keys(this.watched).length === 0) return;
    // Not all at once: a viewer that starts again has many pages to answer.
    this.again = setTimeout(() => this.#connect(), this.wait * (0.5 + Math.random()));
    this.wait = Math.min(this.wait * 2, MOST_WAIT_MS);
  }
}

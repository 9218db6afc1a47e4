// Runs in the page that browser_test serves. Its settings come from /settings; every check is posted to /ok, a
// difference to /different, and the end to /done.
'use strict';

const WAIT_MS = 20000;
const MANY = 500;
const LARGE_BYTES = 1000000;

function post(path, text) {
  return fetch(path, { method: 'POST', body: text });
}

async function check(what, found, expected) {
  const [left, right] = [JSON.stringify(found), JSON.stringify(expected)];
  if (left !== right) {
    throw new Error(`${what}: found ${left}, expected ${right}`);
  }
  await post('/ok', what);
}

function inTime(what, promise) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`in time: ${what}`)), WAIT_MS);
  });
  return Promise.race([promise, late]);
}

function numbers(count) {
  return Array.from({ length: count }, (_, number) => String(number));
}

// A client with an inbox.
class Peer {
  static async open(url, version, options = {}) {
    const peer = new Peer();
    peer.messages = [];
    peer.wake = () => {};
    peer.client = mqtt.connect(url, { protocolVersion: version, reconnectPeriod: 0, ...options });
    peer.client.on('message', (topic, payload, packet) => {
      peer.messages.push({ topic, payload, packet });
      peer.wake();
    });
    await inTime('connect', new Promise((resolve, reject) => {
      peer.client.once('connect', resolve);
      peer.client.once('error', reject);
      peer.client.once('close', () => reject(new Error('closed')));
    }));
    return peer;
  }

  async take(count) {
    await inTime(`${count} messages`, new Promise((resolve) => {
      this.wake = () => (this.messages.length >= count ? resolve() : undefined);
      this.wake();
    }));
    return this.messages.splice(0, count);
  }
}

async function checkVersion(url, version) {
  const name = `${url.split(':')[0]}, version ${version}`;
  const [publisher, subscriber] = [await Peer.open(url, version), await Peer.open(url, version)];
  for (const qos of [0, 1, 2]) {
    await subscriber.client.subscribeAsync(`page/${qos}`, { qos });
    await Promise.all(numbers(MANY).map((text) => publisher.client.publishAsync(`page/${qos}`, text, { qos })));
    const found = (await subscriber.take(MANY)).map(({ payload }) => payload.toString());
    await check(`${name}: ${MANY} messages at QoS ${qos}, each once and in order`, found, numbers(MANY));
  }
  const large = new Uint8Array(LARGE_BYTES).map((_, index) => (index * 31 + 7) % 251);
  await subscriber.client.subscribeAsync('page/large', { qos: 1 });
  await publisher.client.publishAsync('page/large', large, { qos: 1 });
  const [{ payload }] = await subscriber.take(1);
  await check(`${name}: ${LARGE_BYTES} bytes`,
    payload.length === LARGE_BYTES && large.every((byte, index) => payload[index] === byte), true);
  await publisher.client.publishAsync('page/kept', 'kept', { qos: 1, retain: true });
  await subscriber.client.subscribeAsync('page/kept', { qos: 1 });
  const [kept] = await subscriber.take(1);
  await check(`${name}: a retained message`, [kept.payload.toString(), kept.packet.retain], ['kept', true]);
  await publisher.client.publishAsync('page/kept', '', { qos: 1, retain: true });
  await subscriber.client.subscribeAsync('page/will', { qos: 1 });
  const mortal = await Peer.open(url, version, { will: { topic: 'page/will', payload: 'gone', qos: 1 } });
  mortal.client.end(true);
  await subscriber.take(1); // the end of the retained one
  await check(`${name}: a will`, (await subscriber.take(1))[0].payload.toString(), 'gone');
  await publisher.client.endAsync();
  await subscriber.client.endAsync();
}

// What a page can see of a refusal: no connection.
async function checkRefused(what, url, protocols) {
  const opened = await inTime(what, new Promise((resolve) => {
    const socket = new WebSocket(url, protocols);
    socket.onopen = () => resolve(true);
    socket.onerror = () => resolve(false);
  }));
  await check(what, opened, false);
}

// The close code that a page sees.
async function checkCloseCode(url) {
  const code = await inTime('a close code', new Promise((resolve) => {
    const socket = new WebSocket(url, ['mqtt']);
    socket.onopen = () => socket.send('text is not MQTT');
    socket.onclose = (event) => resolve(event.code);
  }));
  await check('a text frame is answered with 1003', code, 1003);
}

async function main() {
  const settings = await (await fetch('/settings')).json();
  for (const url of settings.urls) {
    for (const version of [4, 5]) {
      await checkVersion(url, version);
    }
  }
  const [url] = settings.urls;
  await checkRefused('another sub-protocol is refused', url, ['chat']);
  await checkRefused('another path is refused', `${url}x`, ['mqtt']);
  await checkRefused('a page of another origin is refused', settings.foreign, ['mqtt']);
  await checkCloseCode(url);
  await post('/done', '');
}

main().catch((error) => post('/different', error.stack || String(error)));

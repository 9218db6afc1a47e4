// MQTT.js does real work against the broker at $PULSE_PORT. $PULSE_NPM is the folder that has the package
// (tests/run installs it), $PULSE_TRANSPORT is tcp, tls, ws or wss, $PULSE_CA who signed the broker's certificate.
//
//     tests/interop/broker.py node tests/interop/mqtt_js_test.js VERSION        3.1, 3.1.1 or 5.0
//
// Each check prints a line. The first difference ends the test with status 1.
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const { randomBytes } = require('node:crypto');
const { createRequire } = require('node:module');
const path = require('node:path');

const mqtt = createRequire(path.join(path.resolve(process.env.PULSE_NPM), 'node_modules', 'x'))('mqtt');

const WAIT_MS = 20000;
const QUIET_MS = 300;
const MANY = 1000;
const LARGE_BYTES = 1000000;
const BREAKS = 5;
const VERSIONS = { 3.1: 3, '3.1.1': 4, '5.0': 5 };

const version = VERSIONS[process.argv[2]];
const is5 = version === 5;
const transport = process.env.PULSE_TRANSPORT || 'tcp';
const scheme = { tcp: 'mqtt', tls: 'mqtts', ws: 'ws', wss: 'wss' }[transport];
const url = `${scheme}://127.0.0.1:${process.env.PULSE_PORT}${scheme.startsWith('ws') ? '/mqtt' : ''}`;
const ca = process.env.PULSE_CA ? fs.readFileSync(process.env.PULSE_CA) : undefined;

function check(what, found, expected) {
  assert.deepStrictEqual(found, expected, what);
  console.log(`ok ${what}`);
}

function pass(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function inTime(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`in time: ${what}`)), WAIT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function once(client, event) {
  return inTime(event, new Promise((resolve) => client.once(event, resolve)));
}

function numbers(count) {
  return Array.from({ length: count }, (_, number) => String(number));
}

// A client with an inbox.
class Peer {
  static async open(options = {}) {
    const peer = new Peer();
    const own = { protocolVersion: version, reconnectPeriod: 50, ca, ...options };
    if (version === 3) {
      own.protocolId = 'MQIsdp';
    }
    peer.messages = [];
    peer.waiting = null;
    peer.client = mqtt.connect(url, own);
    peer.client.on('error', (error) => console.log(`client error: ${error.message}`));
    peer.client.on('message', (topic, payload, packet) => {
      peer.messages.push({ topic, payload, packet });
      peer.wake();
    });
    peer.connack = await once(peer.client, 'connect');
    return peer;
  }

  // A session that outlives its connection.
  static keeper(clientId, options = {}) {
    const properties = { sessionExpiryInterval: 100, ...options.properties };
    return Peer.open({ clientId, clean: false, ...options, ...(is5 ? { properties } : {}) });
  }

  wake() {
    if (this.waiting !== null && this.messages.length >= this.waiting.count) {
      this.waiting.resolve();
      this.waiting = null;
    }
  }

  // The next `count` messages.
  async take(count) {
    const enough = new Promise((resolve) => {
      this.waiting = { count, resolve };
    });
    this.wake();
    await inTime(`${count} messages, ${this.messages.length} came`, enough);
    return this.messages.splice(0, count);
  }

  async texts(count) {
    return (await this.take(count)).map((message) => message.payload.toString());
  }

  async isQuiet() {
    await pass(QUIET_MS);
    return this.messages.length === 0;
  }

  subscribe(filter, options = { qos: 2 }) {
    return inTime('SUBACK', this.client.subscribeAsync(filter, options));
  }

  publish(topic, payload, options = { qos: 1 }) {
    return inTime('the end of a publish', this.client.publishAsync(topic, payload, options));
  }

  publishNumbers(topic, count, qos) {
    return inTime('all acknowledgements',
      Promise.all(numbers(count).map((text) => this.client.publishAsync(topic, text, { qos }))));
  }

  leave() {
    return inTime('a disconnect', this.client.endAsync());
  }

  // The connection ends without DISCONNECT, and the client does not come back.
  vanish() {
    return inTime('an end', this.client.endAsync(true));
  }

  // The connection ends without DISCONNECT, and the client connects again by itself.
  breakConnection() {
    const again = once(this.client, 'connect');
    this.client.stream.destroy();
    return again;
  }
}

async function checkQos() {
  const [publisher, subscriber] = [await Peer.open(), await Peer.open()];
  for (const qos of [0, 1, 2]) {
    const granted = await subscriber.subscribe(`qos/${qos}`, { qos });
    check(`SUBACK grants QoS ${qos}`, granted[0].qos, qos);
    await publisher.publishNumbers(`qos/${qos}`, MANY, qos);
    const found = await subscriber.take(MANY);
    check(`${MANY} messages at QoS ${qos}, each once and in order`,
      found.map(({ payload, packet }) => [payload.toString(), packet.qos, packet.retain]),
      numbers(MANY).map((text) => [text, qos, false]));
  }
  await subscriber.client.unsubscribeAsync('qos/1');
  await publisher.publish('qos/1', 'x');
  await publisher.publish('qos/0', 'y');
  check('unsubscribed', await subscriber.texts(1), ['y']);
  await publisher.leave();
  await subscriber.leave();
}

async function checkLarge() {
  const [publisher, subscriber] = [await Peer.open(), await Peer.open()];
  await subscriber.subscribe('large/#');
  for (const qos of [0, 1, 2]) {
    const payloads = Array.from({ length: 5 }, () => randomBytes(LARGE_BYTES));
    await Promise.all(payloads.map((payload) => publisher.publish('large/ünïcode', payload, { qos })));
    const found = await subscriber.take(5);
    check(`5 x ${LARGE_BYTES} random bytes at QoS ${qos}`,
      found.every(({ payload }, index) => payload.equals(payloads[index])), true);
    check('a topic in UTF-8', found[0].topic, 'large/ünïcode');
  }
  await publisher.leave();
  await subscriber.leave();
}

async function checkRetained() {
  const publisher = await Peer.open();
  await publisher.publish('kept/a', 'old', { qos: 1, retain: true });
  await publisher.publish('kept/a', 'new', { qos: 2, retain: true });
  const reader = await Peer.open();
  await reader.subscribe('kept/+');
  const [found] = await reader.take(1);
  check('a retained message', [found.payload.toString(), found.packet.qos, found.packet.retain],
    ['new', 2, true]);
  await publisher.publish('kept/a', '', { qos: 1, retain: true });
  check('its end', (await reader.take(1))[0].packet.retain, false);
  await reader.subscribe('kept/#');
  check('nothing retained is left', await reader.isQuiet(), true);
  await publisher.leave();
  await reader.leave();
}

async function checkWill() {
  const watcher = await Peer.open();
  await watcher.subscribe('will');
  for (const qos of [0, 1, 2]) {
    const will = { topic: 'will', payload: Buffer.from('gone'), qos, retain: false };
    await (await Peer.open({ will })).vanish();
    const [found] = await watcher.take(1);
    check(`a will at QoS ${qos}`, [found.payload.toString(), found.packet.qos], ['gone', qos]);
    await (await Peer.open({ will })).leave();
  }
  check('no will after DISCONNECT', await watcher.isQuiet(), true);
  await watcher.leave();
}

async function checkSession() {
  const publisher = await Peer.open();
  await (await Peer.open({ clientId: 'keeper', clean: true })).leave();
  let keeper = await Peer.keeper('keeper');
  check('no session present at first', keeper.connack.sessionPresent, false);
  await keeper.subscribe('away');
  await keeper.leave();
  for (const qos of [1, 2]) {
    await publisher.publishNumbers('away', 100, qos);
  }
  keeper = await Peer.keeper('keeper');
  check('session present', keeper.connack.sessionPresent, version !== 3);
  check('200 messages waited for a client that was away', await keeper.texts(200),
    [...numbers(100), ...numbers(100)]);
  await keeper.leave();
  await (await Peer.open({ clientId: 'keeper', clean: true })).leave();
  await publisher.leave();
}

// PUBCOMP of a message whose release the broker had seen before the connection broke: no error then
// (MQTT 5.0, 3.7.2.1), but MQTT.js reports one.
function unlessReleasedBefore(error) {
  if (error.code !== 0x92) {
    throw error;
  }
}

// The connections break in turn, each time in the middle of QoS 2.
async function checkBreaks() {
  const publisher = await Peer.keeper('breaking-publisher');
  const subscriber = await Peer.keeper('breaking-subscriber');
  await subscriber.subscribe('breaks');
  const part = MANY / BREAKS;
  const ends = [];
  const found = [];
  for (let turn = 0; turn < BREAKS; turn++) {
    for (const text of numbers(MANY).slice(turn * part, (turn + 1) * part)) {
      ends.push(publisher.publish('breaks', text, { qos: 2 }).catch(unlessReleasedBefore));
    }
    await pass(2);
    await (turn % 2 === 0 ? publisher : subscriber).breakConnection();
    found.push(...await subscriber.texts(part));
  }
  await Promise.all(ends);
  check(`${BREAKS} broken connections in ${MANY} messages at QoS 2: each once, and in order`, found,
    numbers(MANY));
  check('nothing twice', await subscriber.isQuiet(), true);
  for (const peer of [publisher, subscriber]) {
    await peer.leave();
    await (await Peer.open({ clientId: peer.client.options.clientId, clean: true })).leave();
  }
}

async function checkTakeover() {
  const first = await Peer.keeper('twin', { reconnectPeriod: 0 });
  await first.subscribe('twin');
  const closed = once(first.client, 'close');
  const said = is5 ? once(first.client, 'disconnect') : null;
  const second = await Peer.keeper('twin');
  if (is5) {
    check('Session taken over', (await said).reasonCode, 0x8e);
  }
  await closed;
  const publisher = await Peer.open();
  await publisher.publish('twin', 'to the second');
  check('the newer connection has the session', await second.texts(1), ['to the second']);
  await second.leave();
  await (await Peer.open({ clientId: 'twin', clean: true })).leave();
  await first.vanish();
  await publisher.leave();
}

async function checkConnack5() {
  const peer = await Peer.open({ clientId: '', properties: { requestResponseInformation: true } });
  const { properties } = peer.connack;
  check('an assigned client id', typeof properties.assignedClientIdentifier, 'string');
  check('limits in CONNACK',
    [properties.receiveMaximum, properties.maximumPacketSize, properties.topicAliasMaximum],
    [1024, 16777216, 1024]);
  await peer.leave();
}

async function checkProperties5() {
  const [publisher, subscriber] = [await Peer.open(), await Peer.open()];
  await subscriber.subscribe('props/#', { qos: 1, properties: { subscriptionIdentifier: 5 } });
  await subscriber.subscribe('props/+', { qos: 2, properties: { subscriptionIdentifier: 300 } });
  const properties = {
    payloadFormatIndicator: true,
    contentType: 'text/plain',
    responseTopic: 'answer/here',
    correlationData: Buffer.from([0, 1, 2]),
    userProperties: { k: ['1', '3'], a: '2' },
  };
  await publisher.publish('props/x', 'text',
    { qos: 2, properties: { ...properties, messageExpiryInterval: 1000 } });
  const [{ packet }] = await subscriber.take(1);
  const { messageExpiryInterval, subscriptionIdentifier, userProperties, ...rest } = packet.properties;
  check('message expiry', messageExpiryInterval > 990 && messageExpiryInterval <= 1000, true);
  check('both subscription identifiers on one copy', subscriptionIdentifier.sort((a, b) => a - b),
    [5, 300]);
  check('user properties', { ...userProperties }, properties.userProperties);
  delete properties.userProperties;
  check('the other properties of PUBLISH', { ...rest }, properties);
  check('one copy', await subscriber.isQuiet(), true);
  await publisher.leave();
  await subscriber.leave();
}

async function checkAliases5() {
  const publisher = await Peer.open({ autoAssignTopicAlias: true });
  const subscriber = await Peer.open({ properties: { topicAliasMaximum: 10 } });
  let [sent, received] = [0, 0];
  publisher.client.on('packetsend', (packet) => {
    sent += packet.cmd === 'publish' && packet.topic === '' ? 1 : 0;
  });
  subscriber.client.on('packetreceive', (packet) => {
    received += packet.cmd === 'publish' && packet.topic === '' ? 1 : 0;
  });
  await subscriber.subscribe('alias/with/a/long/name/#');
  for (const text of numbers(30)) {
    await publisher.publish(`alias/with/a/long/name/${text % 3}`, text);
  }
  const found = await subscriber.take(30);
  check('topics behind aliases', found.map(({ topic }) => topic),
    numbers(30).map((text) => `alias/with/a/long/name/${text % 3}`));
  check('aliases towards the broker were used', sent, 27);
  check('aliases towards the client were used', received > 0, true);
  await publisher.leave();
  await subscriber.leave();
}

async function checkShared5() {
  const publisher = await Peer.open();
  const members = [];
  for (let i = 0; i < 4; i++) {
    members.push(await Peer.open());
    await members[i].subscribe('$share/team/work/#', { qos: 1 });
  }
  await publisher.publishNumbers('work/x', 400, 1);
  const all = () => members.reduce((sum, member) => sum + member.messages.length, 0);
  for (let waited = 0; all() < 400 && waited < WAIT_MS; waited += 10) {
    await pass(10);
  }
  await pass(QUIET_MS);
  const texts = members.flatMap((member) => member.messages.map(({ payload }) => payload.toString()));
  check('shared: 400 messages for 4 members, each once', texts.sort((a, b) => a - b), numbers(400));
  check('shared: everybody has work', members.every((member) => member.messages.length >= 50), true);
  for (const peer of [publisher, ...members]) {
    await peer.leave();
  }
}

async function checkSubscribeOptions5() {
  const peer = await Peer.open();
  await peer.subscribe('mine', { qos: 1, nl: true });
  await peer.publish('mine', 'to myself');
  check('no local', await peer.isQuiet(), true);
  await peer.publish('kept/options', 'x', { qos: 1, retain: true });
  await peer.subscribe('kept/options', { qos: 1, rh: 2, rap: true });
  check('retain handling 2', await peer.isQuiet(), true);
  await peer.publish('kept/options', '', { qos: 1, retain: true });
  check('retain as published', (await peer.take(1))[0].packet.retain, true);
  await peer.leave();
}

async function checkWill5() {
  const watcher = await Peer.open();
  await watcher.subscribe('will');
  const will = {
    topic: 'will',
    payload: Buffer.from('{}'),
    qos: 1,
    properties: { willDelayInterval: 1, contentType: 'application/json', userProperties: { a: 'b' } },
  };
  const mortal = await Peer.keeper('mortal', { will });
  await mortal.vanish();
  const began = Date.now();
  const [{ packet }] = await watcher.take(1);
  check('a will waits for its delay', Date.now() - began >= 900, true);
  check('properties of a will', [packet.properties.contentType, { ...packet.properties.userProperties }],
    ['application/json', { a: 'b' }]);
  const back = await Peer.keeper('mortal', { will });
  await back.vanish();
  const again = await Peer.keeper('mortal');
  await pass(1300);
  check('no will when the client is back before', await watcher.isQuiet(), true);
  await again.leave();
  await watcher.leave();
}

async function checkWindow5() {
  const publisher = await Peer.open();
  const subscriber = await Peer.open({ properties: { receiveMaximum: 2 } });
  await subscriber.subscribe('window');
  await publisher.publishNumbers('window', MANY, 2);
  check('a Receive Maximum of 2', await subscriber.texts(MANY), numbers(MANY));
  await publisher.leave();
  await subscriber.leave();
}

async function main() {
  await checkQos();
  await checkLarge();
  await checkRetained();
  await checkWill();
  await checkSession();
  await checkBreaks();
  await checkTakeover();
  if (is5) {
    await checkConnack5();
    await checkProperties5();
    await checkAliases5();
    await checkShared5();
    await checkSubscribeOptions5();
    await checkWill5();
    await checkWindow5();
  }
  console.log(`${process.argv[2]} over ${transport}: all as expected`);
}

main().then(() => process.exit(0), (error) => {
  console.log(`DIFFERENT ${error.stack}`);
  process.exit(1);
});

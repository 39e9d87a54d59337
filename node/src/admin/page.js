// Draws /api/status and /api/directory, once a second. Text only ever becomes text nodes: keys and names come from outside.
"use strict";

const PERIOD_MS = 1000;
/** Samples that the graph shows: two minutes. */
const KEPT = 120;
/** Requests per second and hits per second of the last samples, the newest last. */
const samples = [];
let before = null;
/** What /api/directory said last, if the node has a directory. */
let directory = null;

const SVG = new Set(["svg", "path", "line", "circle", "text", "title"]);

function node(tag, attributes, ...children) {
  const made = SVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter(child => child !== null));
  return made;
}

// Numbers as people read them.

const sum = values => values.reduce((total, value) => total + value, 0);
const share = (part, whole) => whole > 0 ? part / whole : 0;

function short(value) {
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (value >= 10 * size || (value >= size && unit !== "k")) return `${(value / size).toFixed(1)} ${unit}`;
  }
  return value >= 100 || Number.isInteger(value) ? Math.round(value).toString() : value.toFixed(1);
}

function bytes(value) {
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (value >= size) return `${(value / size).toFixed(1)} ${unit}`;
  }
  return `${value} B`;
}

const bits = value => `${short(8 * value)}bit/s`.replace(/(\d)bit/, "$1 bit");
const percent = (part, whole) => whole > 0 ? `${(100 * part / whole).toFixed(1)} %` : "–";

function duration(seconds) {
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min` : `${Math.floor(seconds)} s`;
}

// What the parts of a status add up to.

const handled = pool => (pool.counters.hits || 0) + sum(pool.servers.map(server => server.requests));
const hitsOf = status => sum(status.pools.map(pool => pool.counters.hits || 0));
const commandsOf = status => status.embedded ? sum(Object.values(status.embedded.commands)) : 0;
const requestsOf = status => sum(status.pools.map(handled)) + commandsOf(status);
const isLoss = name => /^(drop|refused)_|_lost$/.test(name);
const dropsOf = status => sum(status.pools.flatMap(pool =>
  Object.entries(pool.counters).filter(([name]) => name.startsWith("drop_")).map(([, count]) => count)))
  + sum(status.ports.map(port => port.drops))
  + sum(status.workers.flatMap(worker => Object.values(worker.drops)));

/** How fast things grew since the last status. */
function rates(status) {
  const seconds = before ? status.node.uptime_seconds - before.node.uptime_seconds : 0;
  const old = seconds > 0 ? before : null;
  const grown = (now, then) => old && then !== undefined ? Math.max(0, now - then) / seconds : 0;
  return { old, grown };
}

// The pieces that a page is made of.

const meter = part => {
  const bar = node("i", {});
  bar.style.width = `${Math.min(100, 100 * part)}%`;
  return node("div", { class: "meter" }, bar);
};

const mark = (good, yes, no) => node("span", { class: good ? "good" : "bad" }, `● ${good ? yes : no}`);

function tile(title, value, note, { part, alarm } = {}) {
  return node("section", { class: alarm ? "card alarm" : "card" }, node("h3", {}, title), node("div", { class: "big" }, value),
    node("div", { class: "soft" }, note), part === undefined ? null : meter(part));
}

/** Heads that begin with `#` are of numbers, with `~` of what narrow screens leave out, with `=` of bars. */
function table(title, heads, rows) {
  const kinds = { "#": "number", "~": "wide", "=": "share" };
  const columns = heads.map(head => {
    const [marks, text] = [head.match(/^[#~=]*/)[0], head.replace(/^[#~=]*/, "")];
    return { text, class: [...marks].map(mark => kinds[mark]).join(" ") };
  });
  const cell = (tag, value, column) => node(tag, { class: column.class }, value);
  const top = node("tr", {}, ...columns.map(column => cell("th", column.text, column)));
  const body = rows.map(row => node("tr", {}, ...row.map((value, index) => cell("td", value, columns[index]))));
  return node("section", { class: "card" }, node("h3", {}, title), node("table", {}, node("thead", {}, top), node("tbody", {}, ...body)));
}

/** The next of 1, 2, 3, 5, 10, 20, ... from `value` on: where an axis ends. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 2, 3, 5, 10].map(step => step * power).find(end => end >= value);
}

function graph(withHits) {
  const top = ceiling(Math.max(10, ...samples.map(sample => sample.requests)));
  const first = KEPT - samples.length;
  const x = index => 100 * (first + index) / (KEPT - 1);
  const curve = of => samples.map((sample, index) => `${x(index)} ${40 - 40 * of(sample) / top}`).join("L");
  const picture = node("svg", { viewBox: "0 0 100 40", preserveAspectRatio: "none", role: "img", "aria-label": "requests per second" },
    ...[0.5, 20].map(y => node("line", { class: "grid", x1: 0, x2: 100, y1: y, y2: y })));
  if (samples.length > 1) {
    const area = (kind, of) => node("path", { class: kind, d: `M${x(0)} 40L${curve(of)}L100 40Z` });
    picture.append(area("area", sample => sample.requests));
    if (withHits) picture.append(area("hits", sample => sample.hits));
    picture.append(node("path", { class: "curve", d: "M" + curve(sample => sample.requests) }));
  }
  const legend = withHits ? node("div", { class: "legend" }, node("i", { class: "hits" }), "answered here", node("i", {}), "by servers") : null;
  return node("section", { class: "card" }, node("div", { class: "head" }, node("h3", {}, "Requests per second"), legend),
    node("div", { class: "graph" }, node("span", { class: "top" }, short(top)), picture),
    node("div", { class: "axis" }, node("span", {}, "two minutes ago"), node("span", {}, "now")));
}

// Sections of the page.

function poolTiles(status) {
  if (!status.pools.length) return [];
  const [hits, all] = [hitsOf(status), sum(status.pools.map(handled))];
  const [recentHits, recent] = [sum(samples.map(sample => sample.hits)), sum(samples.map(sample => sample.handled))];
  const of = name => sum(status.pools.map(pool => pool.cache[name]));
  const servers = status.pools.flatMap(pool => pool.servers);
  const up = servers.filter(server => server.alive).length;
  return [
    tile("Answered here", percent(recentHits, recent), `${percent(hits, all)} since the start`, { part: share(recentHits, recent) }),
    tile("Hot-key cache", bytes(of("bytes")), `of ${bytes(of("capacity"))}, ${short(of("entries"))} values`, { part: share(of("bytes"), of("capacity")) }),
    tile("Servers up", `${up} of ${servers.length}`, status.pools.length > 1 ? `in ${status.pools.length} pools` : "in one pool", { alarm: up < servers.length }),
  ];
}

function embeddedTiles({ embedded }) {
  if (!embedded) return [];
  const reads = embedded.hits + embedded.misses;
  return [
    tile("Hit ratio", percent(embedded.hits, reads), `${short(embedded.hits)} of ${short(reads)} reads`, { part: share(embedded.hits, reads) }),
    tile("Memory", bytes(embedded.bytes), `of ${bytes(embedded.limit_bytes)}, ${short(embedded.curr_items)} items`, { part: share(embedded.bytes, embedded.limit_bytes) }),
    tile("Evictions", short(embedded.evictions), "to make room"),
    tile("Connections", short(embedded.connections), `on ${embedded.listen}`),
  ];
}

function embeddedSection({ embedded }, { old, grown }) {
  if (!embedded) return [];
  const then = old && old.embedded ? old.embedded.commands : {};
  const rows = Object.entries(embedded.commands).map(([name, count]) => [name.replace("cmd_", ""), short(grown(count, then[name])), short(count)]);
  return [node("h2", {}, "Embedded memcached", node("span", { class: "soft" }, embedded.listen)),
    table("Commands", ["Command", "#Per second", "#Since the start"], rows)];
}

function poolSection(pool, { old, grown }) {
  const then = old && old.pools.find(other => other.name === pool.name);
  const most = Math.max(1, ...pool.hot_keys.map(hot => hot.hits));
  const all = sum(pool.servers.map(server => server.requests));
  const servers = pool.servers.map(server => {
    const was = then && then.servers.find(other => other.name === server.name);
    return [server.name, mark(server.alive, "up", "down"), node("code", {}, server.mac), meter(share(server.requests, all)),
      short(grown(server.requests, was && was.requests)), short(server.requests)];
  });
  const hot = pool.hot_keys.map(({ key, hits }) => [node("div", { class: "key", title: key }, node("code", {}, key)), meter(hits / most), short(hits)]);
  const counted = Object.entries(pool.counters).filter(([, count]) => count > 0)
    .map(([name, count]) => [node("code", isLoss(name) ? { class: "bad" } : {}, name), short(grown(count, then && then.counters[name])), short(count)]);
  return [
    node("h2", {}, `Pool ${pool.name}`, node("span", { class: "soft" }, pool.vip)),
    node("div", { class: "pair" },
      node("div", { class: "column" },
        table("Servers", ["Server", "State", "~MAC", "~=Share", "#Requests/s", "#Requests"], servers),
        table("Counters", ["Counter", "#Per second", "#Since the start"], counted)),
      hot.length ? table("Hot keys", ["Key", "=", "#Hits"], hot) : null),
  ];
}

function routeSection(route) {
  const rows = route.leads.map(lead => [lead.prefix ? node("code", {}, lead.prefix) : "other keys", [[lead.pool, ...lead.replicas].join(" + "), ...lead.failover].join(", else ") + (lead.warm_from ? `, filled from ${lead.warm_from}` : "") + (lead.shadow ? `, ${100 * lead.shadow_share} % to ${lead.shadow}, too` : "")]);
  const counted = Object.entries(route.counters).filter(([, count]) => count > 0)
    .map(([name, count]) => [node("code", isLoss(name) ? { class: "bad" } : {}, name), short(count)]);
  return [node("h2", {}, `Route ${route.name}`, node("span", { class: "soft" }, `${route.listen}, ${short(route.connections)} connections`)),
    table("Prefixes", ["Prefix", "Pool"], rows),
    ...(counted.length ? [table("Counters", ["Counter", "#Since the start"], counted)] : [])];
}

function portSection({ ports, stations }, { old, grown }) {
  if (!ports.length) return [];
  const rows = ports.map(port => {
    const was = (old && old.ports.find(other => other.name === port.name)) || {};
    return [port.name, mark(port.link, "up", "down"), node("code", {}, port.device),
      short(grown(port.rx_packets, was.rx_packets)), bits(grown(port.rx_bytes, was.rx_bytes)),
      short(grown(port.tx_packets, was.tx_packets)), bits(grown(port.tx_bytes, was.tx_bytes)), short(port.drops)];
  });
  return [node("h2", {}, "Switch", node("span", { class: "soft" }, `${stations} stations behind ${ports.length} ports`)),
    table("Ports", ["Port", "Link", "~Device", "#In, packets/s", "~#In", "#Out, packets/s", "~#Out", "#Drops"], rows)];
}

/** Shards that are drawn; of a directory that has more, these come first. */
const DRAWN = 32;

/** Ids of nodes as people write them: without the zeros in front. */
const shortId = id => id.replace(/^0+(?=.)/, "");

/** Shards against nodes: who replicates what, who leads, and who does not answer. */
function shardPicture({ shards, nodes, silent }) {
  const racks = new Map(nodes.map(({ id, rack }) => [id, rack]));
  const columns = [...new Set(shards.flatMap(shard => shard.members.map(member => member.node)))].sort();
  const [left, top, width, height] = [250, 46, 84, 32];
  const x = column => left + width * (column + 0.5);
  const cut = text => text.length > 32 ? `${text.slice(0, 31)}…` : text;
  const text = (attributes, content) => node("text", attributes, content);
  const size = [left + width * columns.length, top + height * Math.min(shards.length, DRAWN)];
  const picture = node("svg", { viewBox: `0 0 ${size.join(" ")}`, width: size[0], height: size[1], role: "img", "aria-label": "shards and their leaders" });
  columns.forEach((id, column) => {
    picture.append(text({ x: x(column), y: 16, class: silent.includes(id) ? "bad name" : "name" }, `node ${shortId(id)}`),
      text({ x: x(column), y: 34, class: "rack" }, cut(racks.get(id) || "")));
  });
  shards.slice(0, DRAWN).forEach((shard, row) => {
    const y = top + height * (row + 0.5);
    picture.append(node("line", { class: "grid", x1: 0, x2: size[0], y1: y - height / 2, y2: y - height / 2 }),
      node("text", { x: 0, y: y + 4, class: shard.leader ? "" : "bad" }, cut(shard.leader ? `from ${shard.from}` : `from ${shard.from}: no leader`), node("title", {}, shard.id)));
    for (const member of shard.members) {
      const behind = member.applied === null ? "does not answer" : `at entry ${member.applied} of ${shard.committed}`;
      const kind = member.applied === null ? `${member.role} silent` : member.role;
      picture.append(node("circle", { cx: x(columns.indexOf(member.node)), cy: y, r: member.role === "leader" ? 9 : 7, class: kind },
        node("title", {}, `${member.role} of ${shard.from}, ${behind}`)));
    }
  });
  const key = (kind, what) => [node("svg", { width: 14, height: 14, viewBox: "-7 -7 14 14" }, node("circle", { r: 5, class: kind })), ` ${what} `];
  const legend = node("div", { class: "legend" }, ...key("leader", "leads"), ...key("voter", "votes"), ...key("learner", "catches up"), ...key("voter silent", "does not answer"));
  return node("section", { class: "card shards" }, node("div", { class: "head" }, node("h3", {}, "Shards and leaders"), legend), picture);
}

function directorySection() {
  if (!directory) return [];
  const { node: own, shards, nodes } = directory;
  const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;
  const of = id => directory.shards.flatMap(shard => shard.members.filter(member => member.node === id));
  const part = id => {
    const roles = of(id).map(member => member.role);
    const leads = roles.filter(role => role === "leader").length;
    return roles.length ? `${roles.length} (leads ${leads})` : "none";
  };
  const rows = nodes.map(({ id, rack, addresses, epoch }) => [node("code", {}, id === own ? `${shortId(id)} (this one)` : shortId(id)), rack,
    node("code", {}, addresses.join(" ") || "alone"), part(id), epoch.toString()]);
  const items = new Map();
  for (const shard of shards) for (const [table, number] of Object.entries(shard.items)) items.set(table, (items.get(table) || 0) + number);
  const known = [...items].filter(([, number]) => number > 0).map(([table, number]) => [table, short(number)]);
  const more = shards.length > DRAWN ? `, the first ${DRAWN} drawn` : "";
  return [
    node("h2", {}, "Name directory", node("span", { class: "soft" }, `${count(shards.length, "shard")}${more}, ${count(nodes.length, "node")}`)),
    node("div", { class: "pair" },
      shards.length ? shardPicture(directory) : node("section", { class: "card" }, directory.waits ? `Of this node: ${directory.waits}.` : "This node waits to be added, or reaches none of its peers."),
      node("div", { class: "column" },
        table("Nodes", ["Node", "~Rack", "Address", "#Shards", "~#Epoch"], rows),
        known.length ? table("Known names", ["Table", "#Items"], known) : null)),
  ];
}

function directoryTiles() {
  if (!directory) return [];
  const led = directory.shards.filter(shard => shard.leader).length;
  const silent = directory.silent.length;
  const all = directory.shards.length;
  return [tile("Directory", `${led} of ${all} shards led`, silent ? `nodes that do not answer: ${silent}` : "all members answer",
    { alarm: led < all || !all || silent > 0 })];
}

function workerSection({ workers }, { old, grown }) {
  if (!workers.length) return [];
  const rows = workers.map(worker => {
    const was = (old && old.workers.find(other => other.id === worker.id)) || {};
    const drops = Object.entries(worker.drops).map(([reason, count]) => `${reason} ${short(count)}`).join(", ");
    return [`${worker.id} on core ${worker.core}`, meter(worker.busy_percent / 100), `${worker.busy_percent.toFixed(1)} %`,
      short(grown(worker.received, was.received)), short(grown(worker.transmitted, was.transmitted)), drops || "none"];
  });
  return [table("Workers", ["Worker", "~=", "#Busy", "#Received/s", "#Sent/s", "Drops"], rows)];
}

function draw(status) {
  const since = rates(status);
  const { old, grown } = since;
  const requests = grown(requestsOf(status), old ? requestsOf(old) : undefined);
  const dropped = grown(dropsOf(status), old ? dropsOf(old) : undefined);
  if (old) {
    samples.push({ requests, hits: grown(hitsOf(status), hitsOf(old)), handled: requests - grown(commandsOf(status), commandsOf(old)) });
    if (samples.length > KEPT) samples.shift();
  }
  before = status;

  document.title = `${status.node.name} · SmartSwitch`;
  document.getElementById("name").textContent = status.node.name;
  document.getElementById("about").textContent = `SmartSwitch ${status.node.version}, up ${duration(status.node.uptime_seconds)}`;
  // Drawing anew would take away what the reader is selecting.
  if (!document.getSelection().isCollapsed) return;
  const tiles = [
    tile("Requests", `${short(requests)} /s`, `${short(requestsOf(status))} since the start`),
    ...poolTiles(status),
    ...embeddedTiles(status),
    ...directoryTiles(),
  ];
  if (status.ports.length) tiles.push(tile("Dropped", `${short(dropped)} /s`, `${short(dropsOf(status))} since the start`, { alarm: dropped > 0 }));
  document.getElementById("main").replaceChildren(
    node("div", { class: "tiles" }, ...tiles),
    graph(status.pools.length > 0),
    ...status.routes.flatMap(routeSection),
    ...status.pools.flatMap(pool => poolSection(pool, since)),
    ...embeddedSection(status, since),
    ...directorySection(),
    ...portSection(status, since),
    ...workerSection(status, since));
}

function state(good, text) {
  const shown = document.getElementById("state");
  shown.className = good ? "good" : "bad";
  shown.textContent = `● ${text}`;
  document.getElementById("main").className = good ? "" : "stale";
}

async function look() {
  try {
    const response = await fetch("/api/status", { cache: "no-store", signal: AbortSignal.timeout(3000) });
    if (!response.ok) throw new Error(`status ${response.status}`);
    draw(await response.json());
    state(true, "live");
  } catch (error) {
    console.error(error);
    state(false, "no answer");
  }
  setTimeout(look, PERIOD_MS);
}

/** By itself: a member that does not answer is waited for. */
async function lookAround() {
  let period = PERIOD_MS;
  try {
    const response = await fetch("/api/directory", { cache: "no-store", signal: AbortSignal.timeout(10000) });
    directory = response.ok ? await response.json() : null;
    // Without a directory there will be none before the node is started anew.
    if (response.status === 404) period = 30 * PERIOD_MS;
  } catch (error) {
    console.error(error);
    directory = null;
  }
  setTimeout(lookAround, period);
}

look();
lookAround();

// The fleet: numbers, a map of all machines, filters, and the machines that match as cards or rows.
// Gets all machines once as props, so that the first picture waits for nothing, then what changed.
const STEP = 48; // machines shown at first, and more each time
const MAP_FROM = 30; // fewer machines are seen at a glance without a map
const KEPT = ["q", "show", "site", "type", "tier", "view"]; // in the address, to be bookmarked

export default {
  props: {
    picture: Object, // now (s), summary, machines (what stays), states (what changes)
    texts: Object, // the component's words in the reader's language
    words: Object, // English to the reader's language: states, faults, machine types
    looks: Object, // status: [rank, tone, icon, group]
    tiles: Array, // [field, words, icon, tone]
    groups: Array, // [name, words]
  },
  emits: ["visible"],
  template: `
  <div class="stack stack-xl">
    <div class="tiles">
      <div class="tile" v-for="[field, words, icon, tone] in tiles" :key="field">
        <div class="tile-value">{{ summary[field] }}</div>
        <div class="tile-label"><i :class="'q-icon material-icons notranslate tone-' + tone" aria-hidden="true">{{ icon }}</i><span>{{ words }}</span></div>
      </div>
    </div>
    <div class="map" v-if="count >= mapFrom" role="img" :aria-label="mapText" @click="openSquare" v-memo="[mapKey]">
      <i v-for="m in sorted" :key="m.device" :class="['square', 'square-' + m.look[1], {off: !fits(m)}]" :data-device="m.device" :title="m.title + ': ' + say(m.statusText)"></i>
    </div>
    <div class="filters" role="search">
      <div class="abreast" role="group" :aria-label="texts.show">
        <button v-for="[name, words] in groups" :key="name" type="button" class="chip" :aria-pressed="show === name ? 'true' : 'false'" @click="set('show', name)">{{ words }} <span class="chip-count">{{ counts[name] || 0 }}</span></button>
      </div>
      <div class="filter-fields">
        <input class="field search" type="search" ref="search" maxlength="200" :placeholder="texts.search" :aria-label="texts.search" aria-keyshortcuts="/" :value="q" @input="set('q', $event.target.value)">
        <select v-for="[name, words, options] in choices" :key="name" class="field" :aria-label="words" :value="$data[name]" @change="set(name, $event.target.value)">
          <option value="">{{ words }}</option>
          <option v-for="option in options" :key="option" :value="option">{{ name === 'type' ? say(option) : name === 'tier' ? texts.tierName.replace('{tier}', option) : option }}</option>
        </select>
      </div>
    </div>
    <div class="abreast between list-head">
      <span class="small muted num" role="status">{{ matchText }}</span>
      <div class="views" role="group" :aria-label="texts.view">
        <button v-for="[name, icon, words] in [['', 'grid_view', texts.cards], ['table', 'table_rows', texts.table]]" :key="name" type="button" :title="words" :aria-label="words" :aria-pressed="view === name ? 'true' : 'false'" @click="set('view', name)"><i class="q-icon material-icons notranslate" aria-hidden="true">{{ icon }}</i></button>
      </div>
    </div>
    <div class="empty" v-if="!matching.length">
      <i class="q-icon material-icons notranslate" aria-hidden="true">filter_alt_off</i>
      <h2>{{ texts.none }}</h2><div>{{ texts.noneHint }}</div>
      <button type="button" class="chip" @click="clear">{{ texts.clear }}</button>
    </div>
    <div class="fleet" ref="list" v-else-if="view !== 'table'" @keydown="arrow">
      <article class="card machine" v-for="m in shown" :key="m.device" :data-device="m.device">
        <div class="machine-top">
          <div class="stack stack-s"><a class="machine-name" :href="at(m)">{{ m.title }}</a><div class="muted small wrap">{{ m.device }} · {{ m.site }}</div></div>
          <div :class="'pill tone-' + m.look[1]"><i class="q-icon material-icons notranslate" aria-hidden="true">{{ m.look[2] }}</i><span>{{ say(m.statusText) }}</span></div>
        </div>
        <div class="muted small clip">{{ say(m.type) }}</div>
        <svg v-if="m.status !== 'learning'" :class="['spark', {over: m.score >= 1}]" viewBox="0 0 100 44" preserveAspectRatio="none" aria-hidden="true"><line x1="0" x2="100" y1="22" y2="22"></line><path :d="sparks[m.device] || ''"></path></svg>
        <div class="stack stack-s">
          <div class="meter tone-calm" v-if="m.status === 'learning'"><div class="meter-fill" :style="{width: m.progress + '%'}"></div></div>
          <div class="machine-foot num"><span>{{ scoreText(m) }}</span><span>{{ ageText(m) }}</span></div>
        </div>
        <a class="case-strip" v-if="m.case" :href="caseAt(m)"><span class="stack" style="gap: 0"><span class="wrap">{{ faultText(m) }}</span><span class="small muted">{{ phaseText(m) }}</span></span><i class="q-icon material-icons notranslate" aria-hidden="true">chevron_right</i></a>
      </article>
    </div>
    <div class="card scroll" ref="list" v-else @keydown="arrow" tabindex="0" role="region" :aria-label="texts.table">
      <table class="grid folds machines-table">
        <thead><tr><th v-for="head in texts.heads" :key="head" scope="col">{{ head }}</th></tr></thead>
        <tbody><tr class="machine-row" v-for="m in shown" :key="m.device" :data-device="m.device">
          <td><a class="machine-link" :href="at(m)">{{ m.title }}</a><div class="small muted wrap">{{ m.device }}</div></td>
          <td :data-label="texts.heads[1]"><span :class="'pill tone-' + m.look[1]"><i class="q-icon material-icons notranslate" aria-hidden="true">{{ m.look[2] }}</i><span>{{ say(m.statusText) }}</span></span></td>
          <td class="fault" :data-label="texts.heads[2]"><a class="link wrap" v-if="m.case" :href="caseAt(m)">{{ faultText(m) }}</a></td>
          <td class="num" :data-label="texts.heads[3]">{{ m.score === null ? '–' : m.score.toFixed(2) }}</td>
          <td class="num nowrap" :data-label="texts.heads[4]">{{ ageText(m) }}</td>
          <td class="place" :data-label="texts.heads[5]">{{ m.site }}</td><td :data-label="texts.heads[6]">{{ say(m.type) }}</td><td :data-label="texts.heads[7]">{{ m.tier }}</td>
        </tr></tbody>
      </table>
    </div>
    <div class="abreast" style="justify-content: center" v-if="shown.length < matching.length" ref="more"><button type="button" class="chip" @click="limit += step">{{ texts.more }}</button></div>
  </div>`,
  data() {
    const asked = new URLSearchParams(location.search);
    const kept = Object.fromEntries(KEPT.map(name => [name, (asked.get(name) || "").slice(0, 200)]));
    kept.show ||= "all";
    return { ...kept, summary: {}, now: 0, version: 0, order: 0, sparks: {}, limit: STEP, step: STEP, mapFrom: MAP_FROM };
  },
  created() {
    this.all = []; // what stays and what changes of each machine; `version` counts its changes
    this.take(this.picture);
  },
  mounted() {
    this.key = event => this.slash(event);
    addEventListener("keydown", this.key);
    this.seen = new Set();
    this.eye = new IntersectionObserver(entries => this.look(entries), { rootMargin: "200px" });
    this.watch();
  },
  updated() {
    this.watch();
  },
  unmounted() {
    removeEventListener("keydown", this.key);
    this.eye.disconnect();
  },
  computed: {
    count() {
      return this.version && this.all.length;
    },
    sorted() {
      this.order;
      return [...this.all].sort((a, b) => a.look[0] - b.look[0] || (a.device < b.device ? -1 : 1));
    },
    counts() {
      this.order;
      const found = { all: this.all.length };
      for (const m of this.all) found[m.look[3]] = (found[m.look[3]] || 0) + 1;
      return found;
    },
    choices() {
      this.count;
      const all = field => [...new Set(this.all.map(m => m[field]))].sort();
      return [["site", this.texts.site, all("site")], ["type", this.texts.type, all("type")], ["tier", this.texts.tier, all("tier")]]
        .filter(([name, , options]) => options.length > 1 || this[name]);
    },
    terms() {
      return this.q.toLowerCase().split(/\s+/).filter(Boolean);
    },
    filters() {
      return JSON.stringify([this.show, this.site, this.type, this.tier, this.terms]);
    },
    mapKey() {
      return this.order + this.filters;
    },
    matching() {
      this.order;
      return this.sorted.filter(m => this.fits(m));
    },
    shown() {
      this.version;
      return this.matching.slice(0, this.limit);
    },
    matchText() {
      return this.texts.matching.replace("{shown}", this.matching.length).replace("{count}", this.all.length);
    },
    mapText() {
      return this.groups.slice(1).map(([name, words]) => `${words}: ${this.counts[name] || 0}`).join(", ");
    },
  },
  methods: {
    // What the gateway calls.
    take(news) {
      if (news.machines)
        this.all = news.machines.map(([device, title, site, type, tier, more]) => ({
          device, title, site, type, tier,
          text: [device, title, site, type, this.say(type), more].join(" ").toLowerCase(),
        }));
      let moved = Boolean(news.machines);
      for (const [i, status, statusText, score, last, progress, found] of news.states) {
        const m = this.all[i];
        moved ||= m.status !== status || m.statusText !== statusText || m.case?.[1] !== found?.[1];
        const fault = found ? `${found[1]} ${this.say(found[1])}`.toLowerCase() : "";
        Object.assign(m, { status, statusText, score, last, progress, case: found, fault, look: this.looks[status] });
      }
      this.now = news.now;
      this.summary = news.summary;
      this.version++;
      if (moved) this.order++;
    },
    draw(sparks) {
      this.sparks = { ...this.sparks, ...sparks };
    },
    // What is shown.
    say(text) {
      return this.words[text] ?? text;
    },
    fits(m) {
      return (this.show === "all" || m.look[3] === this.show)
        && (!this.site || m.site === this.site) && (!this.type || m.type === this.type) && (!this.tier || m.tier === this.tier)
        && this.terms.every(term => m.text.includes(term) || m.fault.includes(term));
    },
    at(m) {
      return "/machines/" + encodeURIComponent(m.device);
    },
    caseAt(m) {
      return "/cases/" + encodeURIComponent(m.case[0]);
    },
    span(seconds) {
      const [t, whole] = [this.texts.spans, Math.floor(seconds)];
      if (whole < 60) return t.s.replace("{count}", whole);
      if (whole < 3600) return t.min.replace("{count}", Math.floor(whole / 60));
      if (whole >= 172800) return t.days.replace("{count}", Math.floor(whole / 86400));
      const minutes = Math.floor(whole / 60) % 60;
      return (minutes ? t.both.replace("{minutes}", minutes) : t.h).replace(/\{count\}|\{hours\}/, Math.floor(whole / 3600));
    },
    ageText(m) {
      if (m.last === null) return this.texts.noReading;
      const age = this.now - m.last;
      return age < 1 ? this.texts.now : this.texts.ago.replace("{span}", this.span(age));
    },
    scoreText(m) {
      if (m.status === "learning") return this.texts.learning.replace("{share}", m.progress);
      if (m.score === null) return this.texts.noScore;
      return this.texts.deviation.replace("{score}", m.score.toFixed(2));
    },
    faultText(m) {
      return `${this.say(m.case[1])} (${m.case[2]} %)`;
    },
    phaseText(m) {
      const since = this.texts.since.replace("{span}", this.span(Math.max(this.now - m.case[4], 0)));
      return `${this.say(m.case[3])} · ${since}`;
    },
    // What people do.
    set(name, value) {
      this[name] = value;
      this.limit = STEP;
      const asked = new URLSearchParams();
      for (const kept of KEPT) if (this[kept] && !(kept === "show" && this.show === "all")) asked.set(kept, this[kept]);
      history.replaceState(history.state, "", location.pathname + (asked.size ? "?" + asked : ""));
    },
    clear() {
      for (const name of ["q", "site", "type", "tier"]) this.set(name, "");
      this.set("show", "all");
      this.$refs.search.focus();
    },
    openSquare(event) {
      const device = event.target.dataset.device;
      if (device) location.href = this.at({ device });
    },
    slash(event) {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.closest?.("input, textarea, select, [contenteditable]")) return;
      event.preventDefault();
      this.$refs.search.focus();
    },
    arrow(event) {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      const links = [...this.$refs.list.querySelectorAll(".machine-name, .machine-link")];
      const here = links.indexOf(event.target);
      if (!way || here < 0) return;
      const place = link => link.closest("[data-device]").getBoundingClientRect();
      const from = place(links[here]);
      const next = way[0] ? links[here + way[0]] : (way[1] > 0 ? links.slice(here + 1) : links.slice(0, here).reverse())
        .find(link => place(link).top !== from.top && Math.abs(place(link).left - from.left) < 8);
      if (!next) return;
      event.preventDefault();
      next.focus();
    },
    // Small lines are fetched for what is in sight, and more machines shown when the end is.
    watch() {
      const now = new Set(this.$refs.list?.querySelectorAll("article[data-device]"));
      if (this.$refs.more) now.add(this.$refs.more);
      for (const old of this.watched || []) if (!now.has(old)) this.eye.unobserve(old), this.unsee(old.dataset?.device);
      for (const element of now) if (!this.watched?.has(element)) this.eye.observe(element);
      this.watched = now;
    },
    look(entries) {
      for (const { target, isIntersecting } of entries) {
        if (target === this.$refs.more) {
          if (isIntersecting) this.limit += STEP;
        } else if (isIntersecting) this.seen.add(target.dataset.device);
        else this.unsee(target.dataset.device);
      }
      clearTimeout(this.soon);
      this.soon = setTimeout(() => this.$emit("visible", [...this.seen].slice(0, STEP)), 80);
    },
    unsee(device) {
      this.seen.delete(device);
    },
  },
};

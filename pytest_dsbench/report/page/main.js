// Begins: tables first, then, when they are on the screen, the comparison and the plots.

const THEMES = ['auto', 'light', 'dark'];
const system = matchMedia('(prefers-color-scheme: dark)');

function themeNow() { return document.documentElement.dataset.theme || 'auto'; }
function dark() { return themeNow() === 'dark' || (themeNow() === 'auto' && system.matches); }

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const says = { auto: 'as the system has them', light: 'light', dark: 'dark' }[theme];
  byId('theme').textContent = { auto: '◐ Auto', light: '☀ Light', dark: '☾ Dark' }[theme];
  byId('theme').setAttribute('aria-label', `Colours: ${says}; press to change`);
  // A browser may refuse to keep anything for a file.
  try { localStorage.setItem('dsbench-theme', theme); } catch { /* not kept, then */ }
  colour();
}

function startTheme() {
  let kept = 'auto';
  try { kept = localStorage.getItem('dsbench-theme') || 'auto'; } catch { /* nothing is kept */ }
  setTheme(THEMES.includes(kept) ? kept : 'auto');
  byId('theme').addEventListener('click', () => setTheme(THEMES[(THEMES.indexOf(themeNow()) + 1) % THEMES.length]));
  system.addEventListener('change', colour);
}

/** Links to sections keep the rest of the address. */
function startLinks() {
  for (const link of document.querySelectorAll('a[href^="#"]')) {
    link.addEventListener('click', (event) => {
      event.preventDefault();
      const at = link.hash.slice(1);
      keepState({ at });
      byId(at).scrollIntoView();
      byId(at).focus({ preventScroll: true });
    });
  }
}

startTheme();
startLinks();
if (records.length) fillPlotSelect();
else byId('roofline').hidden = true;
startCases();
document.documentElement.dataset.shown = Math.round(performance.now());

document.addEventListener('DOMContentLoaded', async () => {
  await drawn();
  if (records.length) await startRoofline();
  else document.documentElement.dataset.drawn = '';
  startCompare();
  if (state.at && byId(state.at)) byId(state.at).scrollIntoView();
});
window.dsbench = { records, placeOf };

#!/usr/bin/env bash
# One night: measures the benches, holds them against the stored baseline, keeps what came out, and ends with pytest's exit code.
#
#   docs/ci/nightly.sh [arguments of pytest, such as -k rms_norm]
#
#   BENCHES         where the benches are                                                        benches/
#   PYTHON          the interpreter that has pytest-dsbench                                      python3
#   OUT             folder for the run file, summary.md, junit.xml and report/; emptied of them  nightly
#   RUNS            folder of the run files, as the ini value dsbench_runs says                  runs
#   COMPARE         what to compare with: a file or a git revision; empty: the stored baseline
#   OLD             interpreter or git revision whose kernels confirm a suspicion side by side
#   SERVING         what is served with these kernels: what changes is told in tokens/s of it, see docs/gate.md
#   SELF_CHECK      share of the cases that are held against themselves                          1%
#   MAIN            the branch on which a run is taken into the baseline                         main
#   BASELINES       folder of the baselines, as the ini value dsbench_baselines says             baselines
#   REASON          accepts slower cases and a new environment on that branch, with this reason
#   PUSH_BASELINES  1: commit the baselines that changed on that branch, and push them
#   UNFIT_EXIT      the exit code where the machine was not fit to judge                         3
#
# Exit codes: 0; 1 for a regression, a wrong, missing or crashed case; 3 see UNFIT_EXIT; others are pytest's own.

set -u
BENCHES=${BENCHES:-benches/}
PYTHON=${PYTHON:-python3}
OUT=${OUT:-nightly}
RUNS=${RUNS:-runs}
COMPARE=${COMPARE:-}
OLD=${OLD:-}
SERVING=${SERVING:-}
SELF_CHECK=${SELF_CHECK:-1%}
MAIN=${MAIN:-main}
BASELINES=${BASELINES:-baselines}
REASON=${REASON:-}
BRANCH=${GITHUB_REF_NAME:-$(git symbolic-ref --short -q HEAD 2>/dev/null)}

# An annotation on GitHub, a line elsewhere.
say() {
    if [ -n "${GITHUB_ACTIONS:-}" ]; then echo "::$1 title=dsbench::$2"; else echo "$1: $2"; fi
}

# A runner has no name of its own to commit with.
named_git() {
    git -c user.name="${GIT_AUTHOR_NAME:-dsbench}" -c user.email="${GIT_AUTHOR_EMAIL:-dsbench@localhost}" "$@"
}

push_baselines() {
    [ -n "$(git status --porcelain -- "$BASELINES")" ] || { echo "no baseline changed"; return 0; }
    git add -A -- "$BASELINES" || return 1
    named_git commit --quiet -m "Baselines of $(date -u +%Y-%m-%d) [skip ci]" -- "$BASELINES" || return 1
    git push --quiet origin "HEAD:$MAIN" && return 0
    # Somebody else pushed meanwhile.
    named_git pull --quiet --rebase --autostash origin "$MAIN" && git push --quiet origin "HEAD:$MAIN"
}

mkdir -p "$OUT" || exit 2
rm -rf "$OUT"/summary.md "$OUT"/junit.xml "$OUT"/*.jsonl "$OUT"/report
known=$(ls "$RUNS" 2>/dev/null)

arguments=("--dsbench-compare${COMPARE:+=$COMPARE}" "--dsbench-self-check=$SELF_CHECK")
arguments+=("--dsbench-summary=$OUT/summary.md" "--dsbench-report=$OUT/report" "--junitxml=$OUT/junit.xml")
[ -n "$OLD" ] && arguments+=("--dsbench-old=$OLD")
[ -n "$SERVING" ] && arguments+=("--dsbench-serving=$SERVING")
saves=
if [ "$BRANCH" = "$MAIN" ]; then
    saves=1
    arguments+=("--dsbench-save${REASON:+=$REASON}")
fi

"$PYTHON" -m pytest "$BENCHES" "$@" "${arguments[@]}"
code=$?

for file in "$RUNS"/*.jsonl; do
    if [ -f "$file" ] && ! grep -qxF -- "${file##*/}" <<<"$known"; then cp "$file" "$OUT"/; fi
done
if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
    if [ -f "$OUT/summary.md" ]; then
        cat "$OUT/summary.md" >>"$GITHUB_STEP_SUMMARY"
    else
        echo "## dsbench: no results; pytest ended with code $code" >>"$GITHUB_STEP_SUMMARY"
    fi
fi

case $code in
0) ;;
1) say error "a case got slower, is wrong, is missing or crashed; see the summary" ;;
3) say warning "the machine was not fit to judge; see the summary" ;;
*) say error "no verdict: pytest ended with code $code" ;;
esac

# What is known of a suspect must last until the next night, so a failed night is pushed too; one without a verdict is not.
case $code in
0 | 1 | 3)
    if [ -n "$saves" ] && [ "${PUSH_BASELINES:-}" = 1 ] && ! push_baselines; then
        say error "the baselines could not be pushed"
        [ "$code" = 0 ] && code=2
    fi
    ;;
esac

[ "$code" = 3 ] && exit "${UNFIT_EXIT:-3}"
exit "$code"

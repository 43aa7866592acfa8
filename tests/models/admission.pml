/* Who may have one more of the chip's active sessions, who waits, and who loses one: the rules of src/space as a model.
 *
 * Idea: the spaces (connections) of three owners share N numbers. What the manager decides is one step, as on the TPM's
 * thread. What clients do, and when a time is up, is left open, so spin tries every order.
 *   Owner H hoards: each of its spaces wants HOARD sessions, touches them for ever, gives none back, and asks again for
 *   what it loses. Owners V and W are guests: one session after the other, V up to the claim, W as many as it likes, then
 *   all back one by one, and again.
 * The rules:
 *   - banker: admitted is what leaves the state safe (`find_safe`, `find_admitted`);
 *   - order: holders before newcomers, owners in turn, any may pass one that cannot be admitted; but nobody who has not
 *     waited for tenure himself passes an owner who has, and who holds no more than he (`find_hold_back`);
 *   - an owner's wait begins anew whenever any of his spaces is served;
 *   - a place that is given back may be kept for its owner, unless he is above his share or the state is not safe without
 *     it. It counts as his, to others it is out; it is free again after a while, and as soon as he is above his share;
 *   - share: N without the banker's reserve, C - 1, divided by the owners that hold or wait (`OVER`);
 *   - tenure: from whom is above his share, for one who has waited for tenure and holds less (`Taker`), as many as it
 *     takes, at once;
 *   - idle lease: from whom is above his share, for anybody, his own other spaces included; from everybody if nobody is
 *     above his (`Lease`). Each owner's turn to be the idlest comes some time. Abandoned ones first.
 * In the code: kept is KeptPlaces (space/kept_places); find_safe is Bank::is_safe, find_admitted Bank::admits (space/admission); OVER, find_victims, Taker and
 *   Lease are session_to_take (space/reclaim); serve is the order in which those that wait are asked again.
 * Left out: the length of times (that tenure, ageing and leases are up happens some time; only that what is due is taken
 *   before the next one's time is up); the deadline (nothing is served by being refused); which session it is (whose is
 *   least recently used is open: more than a hoarder can do by touching); clients that cancel; parking, numbers, kinds,
 *   the TPM's answers; claims that differ; a chip that shrinks; that V may finish what it got before it loses it again.
 * Checked (check.sh, CMakeLists.txt):
 *   - what is out and what is free is N, so never more than N (assert);
 *   - the state is safe after every step, takings included (assert; not with ABANDON, which cannot keep it);
 *   - whoever has a place that is kept gets a session at once (assert; not with ABANDON: what is lost may be needed);
 *   - for tenure nobody loses one to an owner that holds as many or more (assert);
 *   - MOST_TAKEN: no wait of V costs more takings than that (assert);
 *   - no state where a guest waits, or is stuck, and nothing can happen any more (invalid end states);
 *   - v_served: whenever V waits for so long, it is served, whatever the others do (weak fairness: what can always go on
 *     does so some time).
 * What the rules are for: leave one out, by -D, and a run fails: NO_BANKER, NO_TENURE, NO_LEASE, PASS_ALWAYS, WHOLE_SHARE
 *   (N / owners), FEED_ANYBODY (tenure for whoever waits), EACH_CONNECTION (each space's wait counts by itself).
 *   NO_TURNS, NO_AGEING and KEEP_ABOVE hold: turns, newcomers' ranks and the share of what is kept are for fairness before
 *   tenure; nobody starves without them.
 * Source: docs/sessions.md; Dijkstra, EWD 623.
 */

#ifndef N
#define N 5 /* numbers to give */
#endif
#ifndef C
#define C 3 /* claim of a space */
#endif
#ifndef H_SPACES
#define H_SPACES 2
#endif
#ifndef V_SPACES
#define V_SPACES 1
#endif
#ifndef W_SPACES
#define W_SPACES 1
#endif
#ifndef HOARD
#define HOARD C /* what each space of the hoarder wants; above C: beyond the claim */
#endif
#define SPACES (H_SPACES + V_SPACES + W_SPACES)
#define OWNERS 3
#define OWNER(s) ((s) < H_SPACES -> 0 : ((s) < H_SPACES + V_SPACES -> 1 : 2))
#define H 0
#define V 1
#define W 2

/* An owner's fair share is SHARED / owners. What the banker keeps back, the last C - 1, is nobody's share. */
#ifdef WHOLE_SHARE
#define SHARED N
#else
#define SHARED (N - (C - 1))
#endif
#define OVER(x) (total[x] * owners > SHARED)

byte free = N;
byte held[SPACES];    /* by a client that is there */
byte lost[OWNERS];    /* client-saved, connection gone: nobody gives them back */
byte kept[OWNERS];    /* given back, and kept for the owner that may want one again */
byte total[OWNERS];   /* all three, of an owner */
bool waits[SPACES];
bool tenured[OWNERS]; /* has waited for tenure, and got nothing since */
#ifdef MOST_TAKEN
byte taken = 0; /* since V has waited for tenure */
#endif
byte turn = OWNERS - 1; /* the owner that was served last */

/* Found anew after every step, from the above. */
byte waiting;         /* spaces that wait */
bool may_take[OWNERS]; /* for tenure */
bool may_idle[OWNERS]; /* when idle past the lease */

/* Up to five spaces, by number. */
#if SPACES > 3
#define S3 3
#else
#define S3 0
#endif
#if SPACES > 4
#define S4 4
#else
#define S4 0
#endif
#define HELD_3 (SPACES > 3 -> held[S3] : 0)
#define HELD_4 (SPACES > 4 -> held[S4] : 0)
#define WAITS_3 (SPACES > 3 && waits[S3])
#define WAITS_4 (SPACES > 4 && waits[S4])
#define ASKS(x) ((waits[0] && OWNER(0) == x) || (waits[1] && OWNER(1) == x) || (waits[2] && OWNER(2) == x) || \
  (WAITS_3 && OWNER(3) == x) || (WAITS_4 && OWNER(4) == x))

/* Within one step. */
hidden byte owners, p, q, s, o, best, best_rank, rank;
hidden short spare;
hidden byte ok, anybody, hold_back, had, keep;
hidden byte finished[SPACES];

/* Some order exists in which each gets its claim and gives back what it claimed. */
inline find_safe() {
  spare = free;
  p = 0;
  do
  :: p < SPACES -> finished[p] = (held[p] == 0); p++
  :: else -> break
  od;
  q = 0;
  do
  :: q < SPACES ->
     p = 0;
     do
     :: p < SPACES && !finished[p] && C - held[p] <= spare ->
        spare = spare + (held[p] < C -> held[p] : C);
        finished[p] = true;
        p++
     :: p < SPACES && (finished[p] || C - held[p] > spare) -> p++
     :: else -> break
     od;
     q++
  :: else -> break
  od;
  ok = true;
  p = 0;
  do
  :: p < SPACES -> ok = ok && finished[p]; p++
  :: else -> break
  od
}

/* Owners that hold or wait; and how many spaces wait. */
inline count() {
  owners = 0;
  waiting = 0;
  o = 0;
  do
  :: o < OWNERS ->
     anybody = total[o] > 0;
     p = 0;
     do
     :: p < SPACES && OWNER(p) == o && waits[p] -> anybody = true; waiting++; p++
     :: p < SPACES && !(OWNER(p) == o && waits[p]) -> p++
     :: else -> break
     od;
     owners = owners + anybody;
     o++
  :: else -> break
  od
}

/* Whether owner x, who has not waited for tenure, must let those go first who have and hold no more than he. Not where
 * he wants what is kept for him: he has no more then than before. */
inline find_hold_back(x) {
  hold_back = false;
#ifndef PASS_ALWAYS
  p = 0;
  do
  :: p < OWNERS ->
     hold_back = hold_back || (kept[x] == 0 && tenured[p] && !tenured[x] && total[p] <= total[x]);
     p++
  :: else -> break
  od
#endif
}

/* What is kept for the owner first. To all others it is out. */
#define FIND_IF_SAFE_WITH(x, place) held[x]++; place--; find_safe(); held[x]--; place++
inline find_admitted(x) {
  ok = false;
  if
#ifdef NO_BANKER
  :: kept[OWNER(x)] + free > 0 -> ok = true
#else
  :: kept[OWNER(x)] > 0 -> FIND_IF_SAFE_WITH(x, kept[OWNER(x)])
  :: kept[OWNER(x)] == 0 && free > 0 -> FIND_IF_SAFE_WITH(x, free)
#endif
  :: else
  fi
}

/* Nothing is kept for an owner above his share. */
inline release_kept() {
#ifdef KEEP_ABOVE
  skip
#else
  count();
  o = 0;
  do
  :: o < OWNERS && kept[o] > 0 && OVER(o) -> kept[o]--; total[o]--; free++
  :: o < OWNERS && !(kept[o] > 0 && OVER(o)) -> o++
  :: else -> break
  od
#endif
}

#define NOBODY 255

/* Gives to those that wait as long as somebody may have one: those that hold before newcomers, an owner that has waited
 * long before both, and owners in turn. */
inline serve() {
  do
  :: true ->
     count();
     best = NOBODY; best_rank = NOBODY;
     o = 1;
     do
     :: o <= OWNERS ->
        s = 0;
        do
        :: s < SPACES && waits[s] && OWNER(s) == (turn + o) % OWNERS ->
           find_hold_back(OWNER(s));
           find_admitted(s);
#ifdef NO_AGEING
           rank = (held[s] > 0 -> 0 : 1);
#else
           rank = (held[s] > 0 || tenured[OWNER(s)] -> 0 : 1);
#endif
           if
           :: ok && !hold_back && rank < best_rank -> best = s; best_rank = rank
           :: else
           fi;
           s++
        :: s < SPACES && !(waits[s] && OWNER(s) == (turn + o) % OWNERS) -> s++
        :: else -> break
        od;
        o++
     :: else -> break
     od;
     if
     :: best == NOBODY -> break
     :: else ->
        if
        :: kept[OWNER(best)] > 0 -> kept[OWNER(best)]--
        :: else -> free--; total[OWNER(best)]++
        fi;
        held[best]++;
        waits[best] = false;
#ifdef EACH_CONNECTION
        tenured[OWNER(best)] = tenured[OWNER(best)] && ASKS(OWNER(best));
#else
        tenured[OWNER(best)] = false;
#endif
#ifdef MOST_TAKEN
        taken = (OWNER(best) == V -> 0 : taken);
#endif
#ifndef NO_TURNS
        turn = OWNER(best)
#endif
     fi
  od
}

/* Whose sessions may be taken. */
inline find_victims() {
  anybody = OVER(0) || OVER(1) || OVER(2);
  o = 0;
  do
  :: o < OWNERS ->
     may_take[o] = false;
     may_idle[o] = waiting > 0 && (OVER(o) || !anybody);
     s = 0;
     do
     :: s < OWNERS ->
        if
#ifdef FEED_ANYBODY
        :: s != o && tenured[s] && OVER(o) -> may_take[o] = true
#else
        :: tenured[s] && OVER(o) && total[o] > total[s] -> may_take[o] = true
#endif
        :: else
        fi;
        s++
     :: else -> break
     od;
     o++
  :: else -> break
  od
}

/* Closes every step of the manager. */
inline settle() {
  release_kept();
  serve();
  find_victims();
  assert(free + total[0] + total[1] + total[2] == N);
#if !defined(NO_BANKER) && !defined(ABANDON)
  find_safe();
  assert(ok);
#endif
  printf("held %d %d %d %d %d kept %d %d free %d waits %d%d%d%d%d tenured %d%d%d may_take %d%d%d may_idle %d%d%d lost %d turn %d\n",
    held[0], held[1], held[2], HELD_3, HELD_4, kept[V], kept[W], free, waits[0], waits[1], waits[2], WAITS_3, WAITS_4, tenured[0], tenured[1],
    tenured[2], may_take[0], may_take[1], may_take[2], may_idle[0], may_idle[1], may_idle[2], lost[0], turn);
  o = 0; s = 0; p = 0; q = 0; best = 0; best_rank = 0; rank = 0; owners = 0; spare = 0; ok = false; anybody = false;
  hold_back = false
}

/* Who has one that is kept does not wait for it. */
inline ask(x) {
  waits[x] = true;
#if !defined(ABANDON) && !defined(NO_BANKER)
  had = kept[OWNER(x)];
  settle();
  assert(had == 0 || !waits[x]);
  had = 0
#else
  settle()
#endif
}

inline give(x) {
  held[x]--; total[OWNER(x)]--; free++;
  settle()
}

/* It is kept, if the owner is not above his share and the state is safe without it: else it is free. */
inline give_and_keep(x) {
  count();
#ifdef KEEP_ABOVE
  keep = true;
#else
  keep = !OVER(OWNER(x));
#endif
  held[x]--;
  find_safe();
  if
  :: keep && ok -> kept[OWNER(x)]++
  :: else -> total[OWNER(x)]--; free++
  fi;
  keep = false;
  settle()
}
#ifdef NO_KEEPING
#define MAY_KEEP false
#else
#define MAY_KEEP true
#endif

proctype Hoarder(byte me) {
end:
  do
  :: d_step { !waits[me] && held[me] < HOARD -> ask(me) }
#ifdef ABANDON
  :: d_step { !waits[me] && held[me] > 0 -> lost[OWNER(me)] = lost[OWNER(me)] + held[me]; held[me] = 0; settle() }
#endif
  od
}

/* Takes as many as its claim, or less, and gives all back. */
proctype Guest(byte me) {
  do
  :: d_step { !waits[me] && held[me] < C -> ask(me) }
  :: d_step { !waits[me] && held[me] > 0 && (held[me] >= C || OWNER(me) == W) -> give(me) };
     do
     :: d_step { held[me] > 0 -> give(me) }
     :: d_step { MAY_KEEP && held[me] > 0 -> give_and_keep(me) }
     :: held[me] == 0 -> break
     od
  od
}

/* Somebody has waited for tenure. What is due then is taken long before the next one has. */
#ifdef NO_TENURE
#define NOTHING_DUE true
#else
#define NOTHING_DUE (!may_take[0] && !may_take[1] && !may_take[2])
#endif
#define AGES(x) d_step { NOTHING_DUE && !tenured[x] && ASKS(x) -> tenured[x] = true; settle() }
proctype Clock() {
end:
  do
  :: AGES(0)
  :: AGES(1)
  :: AGES(2)
  od
}

inline take(x) {
#ifdef MOST_TAKEN
  taken = taken + tenured[V];
  assert(taken <= MOST_TAKEN);
#endif
  held[x]--; total[OWNER(x)]--; free++;
  settle()
}

/* Some owner that has waited for tenure has less than that of space x. */
#define FOR_LESS(x) (FOR_LESS_OF(x, 0) || FOR_LESS_OF(x, 1) || FOR_LESS_OF(x, 2))
#define FOR_LESS_OF(x, o) (tenured[o] && total[o] < total[OWNER(x)])
inline take_tenured(y) {
  assert(FOR_LESS(y));
  take(y)
}

inline take_lost(x) {
  lost[x]--; total[x]--; free++;
  settle()
}

/* Space x has one that may be taken, if `who` loses. Abandoned ones go first. */
#define FROM(who, x) who[OWNER(x)] && lost[OWNER(x)] == 0 && held[x] > 0

proctype Taker() {
end:
  do
  :: d_step { FROM(may_take, 0) -> take_tenured(0) }
  :: d_step { FROM(may_take, 1) -> take_tenured(1) }
  :: d_step { FROM(may_take, 2) -> take_tenured(2) }
  :: d_step { SPACES > 3 && FROM(may_take, S3) -> take_tenured(S3) }
  :: d_step { SPACES > 4 && FROM(may_take, S4) -> take_tenured(S4) }
  :: d_step { may_take[H] && lost[H] > 0 -> take_lost(H) }
  od
}

/* What is kept is free after a tenure, if its owner has not wanted it since. */
proctype Keeper(byte whose) {
end:
  do
  :: d_step { kept[whose] > 0 -> kept[whose]--; total[whose]--; free++; settle() }
  od
}

/* Past its lease for certain: a space that waits uses nothing. Never from the only one that waits. */
#define BLOCKED(x) (waits[x] && waiting > 1 && OWNER(x) == whose)
/* Perhaps: a guest's that works slowly. Not what a hoarder touches. */
#define SLOW(x) (!waits[x] && OWNER(x) != H)
#define IDLE(x) (whose == OWNERS -> SLOW(x) : BLOCKED(x))
proctype Lease(byte whose) {
end:
  do
  :: d_step { FROM(may_idle, 0) && IDLE(0) -> take(0) }
  :: d_step { FROM(may_idle, 1) && IDLE(1) -> take(1) }
  :: d_step { FROM(may_idle, 2) && IDLE(2) -> take(2) }
  :: d_step { SPACES > 3 && FROM(may_idle, S3) && IDLE(S3) -> take(S3) }
  :: d_step { SPACES > 4 && FROM(may_idle, S4) && IDLE(S4) -> take(S4) }
  :: d_step { whose == H && may_idle[H] && lost[H] > 0 -> take_lost(H) }
  od
}

init {
  atomic {
    byte me = 0;
    do
    :: me < SPACES ->
       if
       :: OWNER(me) == H -> run Hoarder(me)
       :: else -> run Guest(me)
       fi;
       me++
    :: else -> break
    od;
    me = 0;
    run Clock();
#ifndef NO_KEEPING
    run Keeper(V); run Keeper(W);
#endif
#ifndef NO_TENURE
    run Taker();
#endif
#ifndef NO_LEASE
    run Lease(H); run Lease(V); run Lease(W); run Lease(OWNERS)
#endif
  }
}

ltl v_served { [] (tenured[V] -> <> !tenured[V]) }

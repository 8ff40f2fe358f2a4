#!/usr/bin/python3
"""Plants a bug at a time in a copy of the product and lets the simulator look for it.

  plant.py [--search] [--seed N] [--seconds N] [NAME...]

Each bug is one of those that cost images elsewhere. A row says in which file which text (or texts)
is replaced by which; when the text is not there any more, that is an error. The rows that name a seed are
played with that one; those that do not are not caught yet: named (or with --search) they are looked for
from --seed on. Prints for each bug the seed. Exit 0 only when all that were played are caught.
Needs `make tests build/tests/sim/sim`.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

BUILD = os.environ.get("BUILD", "build")

BUGS = [
    ("receipt before the flush", "central/vault.c",
     "rc = file_sync(u->fd, e);", "rc = 0; (void)e;", 1),
    ("the folder of a pack is not flushed", "central/vault.c",
     "		rc = file_sync_dir(folder, e);\n	if (rc)\n		forget_day", "		rc = 0;\n	if (rc)\n		forget_day", 1),
    ("the log is not flushed", "central/clog.c",
     "	rc = file_sync(fd, e);\n	pthread_mutex_lock", "	rc = 0 * fd;\n	pthread_mutex_lock", 2),
    ("a found pack is not flushed", "central/reconcile.c",
     "rc = vault_secure(m->c->vault, place, e);", "rc = 0;", 3),
    ("held without a look", "central/adopt.c",
     "*held = !rc && v.state == VERSION_HERE && adopt_is_trusted(c, &v);", "*held = !rc;", 1),
    ("receipts up to, not of ranges", "edge/packing.c",
     "for (seq = r->m->ranges[i]->first;", "for (seq = 1;", 3),
    ("a duplicate is not looked at", "common/store/put.c",
     "	*good = o->checked_good;\n", "	*good = true;\n", 31),
    ("who says that an image is here is not noted", "central/record.c",
     "rc = claim_put(a->tx, v.digest, &a->site.incarnation, seq, has, e);",
     "rc = seq % 5 ? claim_put(a->tx, v.digest, &a->site.incarnation, seq, has, e) : 0;", 1),
    ("damage clears no bit", "central/release.c",
     "rc = holdings_set_all(tx, v.digest, false, e);", "rc = 0;", 13),
    ("the journal is not flushed", "common/store/journal.c",
     "	if (!rc)\n		rc = file_sync(j->fd, e);\n	if (rc) {\n		j->broken", "	if (rc) {\n		j->broken", 5),
    ("a member's digest is not compared", "proto/pack.c",
     "if (memcmp(digest, c->p->members[i].digest, sizeof(digest)) != 0)", "if (digest[0] != digest[0])", 12),
    ("a new central is taken for the old one", "edge/holdings.c",
     "rc = sync_put(tx, \"epoch\", o->epoch->b, sizeof(o->epoch->b), e);\n",
     "rc = sync_put(tx, \"epoch\", o->epoch->b, sizeof(o->epoch->b), e);\n	return rc;\n"),
    ("what central lacks is not owed again", "edge/holdings.c",
     "return owe(a, seq, v, e);", "return 0;", 1),
    ("success before the commit", "edge/take_in.c",
     "	if (!rc && !t->verdict.duplicate && t->edge->keep)", "	rc = 0;\n	if (!t->verdict.duplicate && t->edge->keep)", 1),
    ("an entry of a ledger is skipped", "central/record.c",
     "return rc ? rc : apply_entry(a, head->seq, bytes, e);",
     "return rc || head->seq % 7 == 3 ? rc : apply_entry(a, head->seq, bytes, e);", 1),
    ("a dissolved pack keeps its members", "edge/packing.c",
     "	row.packed = false;\n	for (i = 0; i < d->n", "	for (i = 0; i < d->n", 3),
    ("a burnt site's word still counts", "central/tally.c",
     "if (w->words[i].has && !w->t.rows[w->words[i].row].site.closed) {", "if (w->words[i].has) {", 4),
    ("a twin goes unnoticed", "central/token.c",
     "*out = known ? TOKEN_STALE : TOKEN_FREE;", "*out = known ? TOKEN_LAST : TOKEN_FREE;", 2),
    ("an edge that was set back goes on as the same incarnation", "edge/setback.c",
     "	id128_make(rng_real(), &b.next);", "	edge_incarnation(e, &b.next);"),
    ("a retract hides nothing", "central/withdraw.c",
     "return rc ? rc : withdrawn_settle_all(tx, m, &withdraw_node, &changed, e);", "return rc;", 2),
    ("committed is what nobody has checked", "edge/committed.c",
     "	return version_receipted(v, &epoch) &&\n", "	return v->seq ||\n", 15),
    ("what is committed goes in the dark", "edge/committed.c",
     "return uid[0] && get(tx, uid, &m, NULL) != ERR_ABSENT;", "(void)m;\n	return uid[0] && !tx;", 5),
    ("what is announced again is shown again", "central/record.c",
     "(!rc && withdrawn ? (uint32_t)VERSION_WITHDRAWN : 0u);", "0u;", 6),
    ("a node begins anew where its disk is not mounted", "edge/edge.c",
     "if (!may_make || tls)", "if (!may_make)", 2),
    ("what two buildings have is exposed in one", "central/tally.c",
     "		if (only && only != &w->t.rows[row->leader])\n			return NULL;\n", "", 21),
    ("bytes are served that nobody verified", "common/store/chunk.c",
     ("if (!parse_head(c, n, out) || buf_get_u64(c + 24) != xxh64_of(out->payload, out->length))",
      "if (buf_get_u64((const unsigned char *)v.p + 24) != xxh64_of(to, n))"),
     ("if (!parse_head(c, n, out))", "if (!to)"), 4),
    ("a lower decision undoes a higher", "common/store/decided.c",
     "	if (!rc && !decided_above(d, &now))", "	if (!rc && d->number == now.number)", 19),
    ("two that were removed vouch for each other", "central/members.c",
     "*out = 2 * (v->vouch - vouch) > v->may - may;", "*out = v->vouch > vouch;", 1),
    ("a central that was set back doubts nobody", "central/members.c",
     "now.unvouched = m->unvouched || v->may > may;", "now.unvouched = m->unvouched;", 3),
    ("a rebuilt catalogue takes no new epoch", "central/central.c",
     "	else if (!rc && applied == 0)", "	else if (!rc && applied == 0 && c->epoch.b[0] != c->epoch.b[0])", 18),
]

def command(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True)


def flags():
    """How the Makefile compiles and links, from what it would do."""
    said = command("make", "-n", "-B", f"{BUILD}/tests/sim/sim").stdout
    compiled = re.search(r"^(\S.*) -c central/vault\.c -o \S+$", said, re.M)
    linked = re.search(r"^(.* -o )(\S*tests/sim/sim) (.*)$", said, re.M)
    if not compiled or not linked:
        sys.exit("plant: cannot tell how the simulator is made")
    return compiled.group(1).split(), linked.group(1).split(), linked.group(3).split()


def planted(bug):
    """The text of its file, with the bug."""
    name, path, old, new = bug[:4]
    with open(path, encoding="utf-8") as f:
        text = f.read()
    for a, b in [(old, new)] if isinstance(old, str) else zip(old, new):
        if text.count(a) != 1:
            sys.exit(f"plant: {name}: its text is not (once) in {path}")
        text = text.replace(a, b)
    return text


def plant(bug, folder, how):
    name, text = bug[0], planted(bug)
    compile_by, link_by, linked = how
    source, made, program = (os.path.join(folder, n) for n in ("bug.c", "bug.o", "sim"))
    with open(source, "w", encoding="utf-8") as f:
        f.write(text)
    loose = [f for f in compile_by if f != "-Werror"] + ["-Wno-error", "-w"]
    for words in (loose + ["-c", source, "-o", made], link_by + [program, made] + linked):
        done = command(*words)
        if done.returncode:
            sys.exit(f"plant: {name}: {done.stdout}")
    return program


def play(bug, how, *words):
    """The seed and the promise that it broke, or None."""
    with tempfile.TemporaryDirectory(prefix="salamander-plant-") as folder:
        program = plant(bug, folder, how)
        done = command(program, "--first", "--brief", *words)
    found = re.search(r"^seed (\d+), \d+ events: (.*)$", done.stdout, re.M)
    if found:
        return found.group(1), found.group(2)
    return None if re.search(r"\d+ worlds", done.stdout) else ("?", "it dies")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--search", action="store_true", help="look for a seed, from --seed on")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--seconds", type=int, default=120)
    p.add_argument("names", nargs="*")
    args = p.parse_args()
    how, missed, looked, left = flags(), 0, 0, 0
    for bug in BUGS:
        planted(bug)  # those that are not played, too
    for bug in BUGS:
        if args.names and not any(n in bug[0] for n in args.names):
            continue
        if len(bug) < 5 and not args.names and not args.search:
            left += 1
            continue
        words = ["--seed", str(args.seed), "--seeds", "100000", "--seconds", str(args.seconds)]
        found = play(bug, how, *(words if args.search or len(bug) < 5 else ["--seed", str(bug[4])]))
        looked += 1
        missed += not found
        print(f"{bug[0]}: " + (f"seed {found[0]}: {found[1]}" if found else "NOT CAUGHT"), flush=True)
    print(f"{looked} bugs planted, {missed} not caught; {left} without a seed were not played")
    return 1 if missed or not looked else 0


if __name__ == "__main__":
    sys.exit(main())

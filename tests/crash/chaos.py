#!/usr/bin/python3
"""Everything at once, by chance: one central, two edges, and whatever may happen to them.

  chaos.py [--seed N] [--rounds N] [--actions N] [--seconds N]

A round is a number of actions drawn from the seed: images come in at either site, some at both, some with other
pixels under the same UID; edges and central are killed, stopped, burnt and begun anew while uploads, refills,
rebuilds and verifies run; wires are cut at a random byte, once or again and again. Then all comes back, the queues
drain, and the judge reads central's folder by itself: each image that was answered with success is there, unless
everything that ever held it has burnt; what is gone is listed; the counts are those of the log.
"""
import argparse
import collections
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
import archive  # noqa: E402
import check  # noqa: E402
import nodes  # noqa: E402

SITES = ("north", "south")


class Image:
    """What was sent; where it was acknowledged and has not burnt since."""

    def __init__(self, key, digest):
        self.key, self.digest = key, digest
        self.places, self.at_central, self.freed = set(), False, False


class Chaos:
    def __init__(self, top, seed):
        self.top, self.random, self.log = top, random.Random(seed), []
        self.small = self.random.random() < 0.5  # caches that must evict
        self.central = nodes.central(os.path.join(top, "central"))
        self.wan = {n: nodes.Wan(self.central.http) for n in SITES}
        self.generation = dict.fromkeys(SITES, 0)
        self.edges = {n: self.new_edge(n) for n in SITES}
        self.images = {}  # key -> Image
        self.uids = collections.Counter()  # how many versions each UID has
        self.senders, self.others, self.folders = [], [], []
        self.refilled = set()

    def new_edge(self, name):
        edge = nodes.edge(os.path.join(self.top, f"{name}{self.generation[name]}"), name,
                          quota="64MiB" if self.small else "4GiB", central_port=self.wan[name].port,
                          cache={"keep_days": 0})
        edge.env = {"TMPDIR": self.top}
        return edge

    # --- what comes in ---

    def files(self):
        folder = os.path.join(self.top, "files", str(len(self.folders)))
        nodes.run(nodes.tool("gen_dicom"), "--out", folder, "--count", self.random.randint(8, 40), "--mix",
                  "--per-study", 7, "--seed", len(self.folders) + 1)
        self.note(folder)
        return folder

    def note(self, folder):
        self.folders.append(folder)
        for o in check.objects([folder], []):
            if o.key not in self.images:
                self.images[o.key] = Image(o.key, bytes.fromhex(o.file_digest))
                self.uids[o.uid] += 1

    def twisted(self):
        """The same UIDs with another pixel."""
        source = self.random.choice(self.folders)
        folder = os.path.join(self.top, "files", str(len(self.folders)))
        os.makedirs(folder)
        for path in self.random.sample(sorted(check.files([source])), 3):
            with open(path, "rb") as f:
                data = bytearray(f.read())
            data[-7] ^= 1 << self.random.randrange(8)
            with open(os.path.join(folder, os.path.basename(path)), "wb") as f:
                f.write(data)
        self.note(folder)
        return folder

    def start_sender(self, name, folder):
        edge = self.edges[name]
        process = subprocess.Popen([nodes.tool("dicom_send"), "127.0.0.1", str(edge.dicom), "-c", edge.aet, "-a",
                                    "MODALITY", "-n", str(self.random.choice((1, 3, 5))), folder],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.senders.append((process, (name, self.generation[name])))
        return f"{name} {os.path.basename(folder)}"

    def collect(self):
        for process, place in self.senders:
            out, _ = process.communicate(timeout=180)
            for line in out.decode().splitlines():
                status, _, path = line.partition(" ")
                if status == "0000" and os.path.isfile(path):
                    with open(path, "rb") as f:
                        image = self.images[check.Object(path, f.read()).key]
                    image.places.add(place)
        self.senders = []

    # --- what happens ---

    @staticmethod
    def up(node):
        """A command that found no server does its work by itself, under the lock: serve comes after it."""
        def started():
            try:
                return node.start()
            except nodes.Failed as e:
                if "held by another process" not in str(e):
                    raise
                return None
        nodes.wait_for(f"{node.name} to start", started, 60)

    def act_send(self):
        return self.start_sender(self.random.choice(SITES), self.files())

    def act_send_to_both(self):
        folder = self.files()
        return " ".join(self.start_sender(name, folder) for name in SITES)

    def act_send_again(self):
        return self.start_sender(self.random.choice(SITES), self.random.choice(self.folders or [self.files()]))

    def act_send_twisted(self):
        return self.start_sender(self.random.choice(SITES), self.twisted()) if self.folders else "-"

    def victim(self):
        return self.random.choice([self.central, *self.edges.values()])

    def again(self, *killed):
        """Most are started again, some at once, some while others go on."""
        if self.random.random() < 0.7:
            time.sleep(self.random.choice((0, 0, 0.2, 1.0)))
            for node in killed:
                self.up(node)
        return "+".join(node.name for node in killed)

    def act_kill(self):
        node = self.victim()
        node.kill()
        return self.again(node)

    def act_kill_both(self):
        edge = self.edges[self.random.choice(SITES)]
        edge.kill()
        self.central.kill()
        return self.again(edge, self.central)

    def act_stop(self):
        """SIGTERM: whatever runs, the node ends by itself and in time."""
        node = self.victim()
        node.stop()
        return self.again(node)

    def act_start(self):
        for node in [self.central, *self.edges.values()]:
            if not node.running():
                self.up(node)
        return ""

    def act_cut(self):
        name = self.random.choice(SITES)
        self.wan[name].cut()
        return name

    def act_cut_at_a_byte(self):
        name = self.random.choice(SITES)
        self.wan[name].restore()
        self.wan[name].fuse = fuse = int(2 ** self.random.uniform(0, 22))
        return f"{name} {fuse}"

    def act_cut_again_and_again(self):
        name, chance = self.random.choice(SITES), random.Random(self.random.random())
        self.wan[name].restore()
        self.wan[name].again = lambda: int(2 ** chance.uniform(8, 22))
        self.wan[name].fuse = self.wan[name].again()
        return name

    def act_slow(self):
        name = self.random.choice(SITES)
        self.wan[name].rate = self.random.choice((0, 200000, 2000000))
        return f"{name} {self.wan[name].rate}"

    def act_restore(self):
        for wan in self.wan.values():
            wan.restore()
        return ""

    def act_burn_central(self):
        self.central.burn()
        for image in self.images.values():
            image.at_central = False
            image.freed = self.small  # a cache that must evict may have let go of it
        if self.random.random() < 0.7:
            self.up(self.central)
        return "small" if self.small else ""

    def act_burn_edge(self):
        name = self.random.choice(SITES)
        self.edges[name].kill()
        self.see_vault()
        self.edges[name].burn()
        for image in self.images.values():
            image.places.discard((name, self.generation[name]))
        self.generation[name] += 1
        self.edges[name] = self.new_edge(name)
        if self.central.running() and self.random.random() < 0.5:
            self.central.command("site", "lost", name, ok=None)
        self.up(self.edges[name])
        self.refilled.add(name)
        return name + " " + self.command(self.edges[name], "refill", *self.random.choice(([], ["--group"])))

    def command(self, node, *words):
        """Runs beside whatever comes next; that it ends is judged, not how."""
        if node.running():
            self.others.append((subprocess.Popen([node.binary, "--config", node.conf, *words], stdout=subprocess.DEVNULL,
                                                 stderr=subprocess.DEVNULL), words[0]))
        return words[0]

    def act_rebuild(self):
        node = self.victim()
        return f"{node.name} {self.command(node, 'rebuild')}"

    def act_verify(self):
        return self.command(self.central, "verify")

    def act_refill(self):
        name = self.random.choice(SITES)
        self.refilled.add(name)
        return self.command(self.edges[name], "refill", "--group")

    def act_evict(self):
        node = self.edges[self.random.choice(SITES)]
        for image in self.images.values():
            image.freed = True
        return f"{node.name} {self.command(node, 'evict')}"

    def act_view(self):
        node = self.victim()
        got = os.path.join(self.top, f"view{len(self.others)}")
        os.makedirs(got, exist_ok=True)
        self.others.append((subprocess.Popen([nodes.tool("dicom_get"), "127.0.0.1", str(node.dicom), "-c", node.aet,
                                              "-a", "VIEWER", "--all", "-o", got], stdout=subprocess.DEVNULL,
                                             stderr=subprocess.DEVNULL), "view"))
        return node.name

    ACTIONS = {"send": 10, "send_to_both": 4, "send_again": 3, "send_twisted": 2, "kill": 6, "kill_both": 2, "stop": 3,
               "start": 4, "cut": 2, "cut_at_a_byte": 4, "cut_again_and_again": 3, "slow": 2, "restore": 3,
               "burn_central": 2, "burn_edge": 2, "rebuild": 2, "verify": 1, "refill": 1, "evict": 1, "view": 3}

    def act(self):
        name = self.random.choices(list(self.ACTIONS), list(self.ACTIONS.values()))[0]
        said = getattr(self, "act_" + name)()
        self.log.append(f"{name.replace('_', ' ')} {said}")
        time.sleep(self.random.choice((0, 0.05, 0.3, 0.8)))  # what the next action meets

    # --- the judge ---

    def see_vault(self):
        """What central holds now, read from its packs (they are never half)."""
        have, wrong = self.vault(), []
        for key in have & self.images.keys():
            self.images[key].at_central = True
        return have, wrong

    def vault(self):
        wrong = []
        have = {o.key for p in check.packs(os.path.join(self.central.data, "vault"))
                for o in check.pack_members(p, wrong)}
        if wrong:
            raise nodes.Failed("; ".join(wrong[:5]))
        return have

    def settle(self):
        for wan in self.wan.values():
            wan.rate = 0
            wan.restore()
        self.act_start()
        self.collect()
        for process, what in self.others:
            try:
                process.wait(180)
            except subprocess.TimeoutExpired as e:
                process.kill()
                raise nodes.Failed(f"{what} has not come to an end") from e
        self.others = []
        for path in os.listdir(self.top):
            if path.startswith("view"):
                wrong = []
                list(check.objects([os.path.join(self.top, path)], wrong))
                shutil.rmtree(os.path.join(self.top, path))
                # the viewer writes what it has got when it has all of it; killed nodes leave nothing half
                if wrong:
                    raise nodes.Failed(f"a viewer got half an image: {wrong[:3]}")
        epoch = self.central.status()["epoch"]
        for name, edge in self.edges.items():
            def drained(edge=edge):
                s = edge.status()
                return s["central"]["epoch"] == epoch and s["owed"]["instances"] == 0 and \
                    s["ledger"]["announced_seq"] == s["ledger"]["last_seq"]
            nodes.wait_for(f"{name} owes nothing", drained, 180)

    def judge(self):
        for _ in range(10):  # an edge that makes room goes on announcing it: two looks must agree
            status = self.central.status()
            told = json.loads(self.central.command("loss", "--json", "--instances", ok=(0, 3))[1])
            a = archive.Archive(self.central.data)
            wrong = list(a.compare(status))
            if not wrong:
                break
            time.sleep(1)
        have, announced, lost = self.see_vault()[0], a.announced(), a.lost()
        listed = {bytes.fromhex(i["sha256"]) for s in told["studies"] if s["state"] == "lost" for i in s["list"]}
        if listed != lost:
            wrong.append(f"`loss` lists {len(listed)}, the log says {len(lost)}")
        if any(s["of_site"]["owed"] for s in status["sites"]):
            wrong.append(f"something is owed although all has drained: {status['sites']}")
        gone = 0
        for image in self.images.values():
            alive = any(self.generation[n] == g for n, g in image.places)
            if image.key in have:
                continue
            gone += alive
            if image.at_central:
                wrong.append(f"central had {image.key[0]} and has it no more")
            elif alive and not image.freed:
                wrong.append(f"acknowledged and not at central: {image.key[0]}")
            elif alive and image.digest not in announced:
                wrong.append(f"acknowledged, gone, in no list: {image.key[0]}")
        wrong += self.judge_viewers(have, bool(lost))
        if wrong:
            raise nodes.Failed("\n".join(wrong[:20]))
        return gone

    def judge_viewers(self, have, may_miss):
        """What each node gives to a viewer: whole, and all that it must."""
        wrong = []
        for node in [self.central, *self.edges.values()]:
            got = os.path.join(self.top, "got")
            shutil.rmtree(got, ignore_errors=True)
            os.makedirs(got)
            partial = may_miss or self.small or any(i.freed for i in self.images.values()) or self.refilled
            nodes.run(nodes.tool("dicom_get"), "127.0.0.1", node.dicom, "-c", node.aet, "-a", "VIEWER", "--all", "-o",
                      got, ok=(0, 1) if partial else (0,), seconds=180)
            keys = {o.key for o in check.objects([got], wrong)}
            for image in self.images.values():
                if self.uids[image.key[0]] > 1 or image.key in keys:
                    continue  # of several versions a viewer gets the current one
                if node is self.central:
                    must = image.key in have
                else:
                    must = (node.name, self.generation[node.name]) in image.places and not image.freed and \
                        not self.small
                if must:
                    wrong.append(f"{node.name} does not give {image.key[0]} to a viewer")
        return wrong

    def play(self, rounds, actions, seconds):
        end = time.monotonic() + seconds if seconds else None
        self.act_start()
        number = 0
        while number < rounds and not (end and time.monotonic() > end):
            number += 1
            self.log = []
            for _ in range(actions):
                self.act()
            self.settle()
            gone = self.judge()
            acked = sum(bool(i.places) for i in self.images.values())
            print(f"round {number}: {'; '.join(x.strip() for x in self.log)}\n  {acked} acknowledged, {gone} of them "
                  f"released by their edge and burnt with central, all listed", flush=True)
        print(f"chaos: {number} rounds, {len(self.images)} images, 0 lost that are not listed")

    def stop(self):
        for process, _ in self.senders + self.others:
            process.kill()
            process.wait()
        for node in [self.central, *self.edges.values()]:
            node.kill()
        for wan in self.wan.values():
            wan.close()


def play(seed, args, seconds):
    top = tempfile.mkdtemp(prefix=f"salamander-chaos-{seed}-")
    chaos = Chaos(top, seed)
    try:
        chaos.play(args.rounds, args.actions, seconds)
    except (nodes.Failed, subprocess.TimeoutExpired) as e:
        print(f"FAILED: seed {seed}: {e}\n{'; '.join(chaos.log)}\nall of it is below {top}", file=sys.stderr)
        return False
    finally:
        chaos.stop()
    shutil.rmtree(top)
    return True


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seed", type=int, default=40)
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--actions", type=int, default=22)
    p.add_argument("--seconds", type=float, default=0, help="seed after seed for so long")
    args = p.parse_args()
    end, seed = time.monotonic() + args.seconds, args.seed
    while play(seed, args, max(1.0, end - time.monotonic()) if args.seconds else 0):
        seed += 1
        if time.monotonic() > end:
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())

/*
 * fault.h - places where a test may make a durable operation fail or die.
 *
 * Every durable step calls fault_hit("module.step") first. Unarmed it costs
 * one relaxed load. Armed, the n-th hit from then on fails (once, or for
 * ever) with an errno, or ends the process as a power cut would.
 * SALAMANDER_FAULT=<name>:<n>:<errno number or "die"> arms one named point of
 * a whole process (tests of the real binaries); fault_from_env() reads it.
 * Threads: hits may come from any thread; arm and disarm from one at a time.
 */
#ifndef SALAMANDER_COMMON_BASE_FAULT_H
#define SALAMANDER_COMMON_BASE_FAULT_H

enum fault_kind {
	FAULT_ERRNO,	      /* fail once with sys             */
	FAULT_ERRNO_FOR_EVER, /* fail from the n-th hit onwards */
	FAULT_DIE	      /* _exit(FAULT_EXIT) at the hit   */
};

enum { FAULT_EXIT = 117 };

/* 0, or the errno with which the caller must fail as if the system had. */
int fault_hit(const char *name);
/* What cannot fail, but can be the last thing done: counted only while a death is armed. */
void fault_passed(const char *name);

/* The n-th hit (from 1) counts; name NULL counts the hits of every point. */
void fault_arm(unsigned n, enum fault_kind kind, int sys);
void fault_arm_named(const char *name, unsigned n, enum fault_kind kind, int sys);

/* Disarms; returns how many counted hits there were since arming. */
unsigned fault_disarm(void);

void fault_from_env(void);

#endif

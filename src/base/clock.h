/* clock.h: one monotonic clock, in milliseconds, for every duration A-IO reports. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

double clock_ms(void);

#endif

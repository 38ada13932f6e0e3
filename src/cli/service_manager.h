/*
 * service_manager.h: what systemd wants to be told, where it asks (sd_notify(3): a datagram to the
 * socket that NOTIFY_SOCKET names). Nothing happens elsewhere.
 */
#ifndef CLI_SERVICE_MANAGER_H
#define CLI_SERVICE_MANAGER_H

/* "READY=1", "STOPPING=1" … */
void service_manager_tell(const char *state);
/* "RELOADING=1" with the time that the protocol wants beside it; "READY=1" ends it. */
void service_manager_tell_reloading(void);

#endif

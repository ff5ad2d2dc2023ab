/* The program's version. */
#ifndef SERVER_VERSION_H
#define SERVER_VERSION_H

#define IGWD_VERSION "0.1.0"

#endif

"""The rules of Edge Hub, without sockets, threads, storage or time: data in, decisions out."""

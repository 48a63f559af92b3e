// A service as one writes it in Go: on 127.0.0.1, on ::1 with the same port, and on the path that it is given.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

func main() {
	four, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	port := four.Addr().(*net.TCPAddr).Port
	listeners := []net.Listener{four}
	if six, err := net.Listen("tcp", fmt.Sprintf("[::1]:%d", port)); err == nil {
		listeners = append(listeners, six)
	}
	unix, err := net.Listen("unix", os.Args[1])
	if err != nil {
		panic(err)
	}
	listeners = append(listeners, unix)
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-From", r.RemoteAddr)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)+len(r.Method)))
		io.WriteString(w, r.Method)
		w.Write(body)
	})
	http.HandleFunc("/chunked", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for i := range body {
			w.Write(body[i : i+1])
			w.(http.Flusher).Flush()
		}
	})
	http.HandleFunc("/early", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, "late")
	})
	http.HandleFunc("/last", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		io.WriteString(w, "last")
	})
	http.HandleFunc("/tunnel", func(w http.ResponseWriter, r *http.Request) {
		connection, buffer, _ := w.(http.Hijacker).Hijack()
		defer connection.Close()
		io.WriteString(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(connection, buffer)
		io.WriteString(connection, "end")
	})
	fmt.Println("port", port)
	for _, listener := range listeners[1:] {
		go http.Serve(listener, nil)
	}
	http.Serve(four, nil)
}

// One handshake of Go's crypto/tls: probe HOST:PORT NAME PEM|system|"" SECONDS
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

func main() {
	seconds, _ := strconv.ParseFloat(os.Args[4], 64)
	config := &tls.Config{ServerName: os.Args[2]}
	if os.Args[3] != "system" {
		config.RootCAs = x509.NewCertPool()
		if pem, err := os.ReadFile(os.Args[3]); err == nil {
			config.RootCAs.AppendCertsFromPEM(pem)
		}
	}
	dialer := &net.Dialer{Timeout: time.Duration(seconds * float64(time.Second))}
	connection, err := tls.DialWithDialer(dialer, "tcp", os.Args[1], config)
	answer := map[string]interface{}{"ok": err == nil}
	if err != nil {
		answer["message"] = fmt.Sprintf("%T %v", err, err)
	} else {
		connection.Close()
	}
	json.NewEncoder(os.Stdout).Encode(answer)
}

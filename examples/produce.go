// Publishes orders, each once, however often an attempt fails and however often this runs. Go 1.19 or newer, no modules.
//
//	go run examples/produce.go http://127.0.0.1:3000 <orders      an order a line; SEKALI_TOKEN is sent if it is set
//	{"id": 1001, "paid_at": "2026-11-21T08:00:00+07:00", "total": "12.50"}
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net/http"
	"os"
	"strconv"
	"time"
)

type order struct {
	ID     int    `json:"id"`
	PaidAt string `json:"paid_at"`
	Total  string `json:"total"`
}

// Without a timeout, a connection that died silently would be waited for, for ever.
var client = http.Client{Timeout: 30 * time.Second}

// What Retry-After asks for: a number or a date. A proxy in between may say anything: five minutes at most.
func asked(value string) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.Atoi(value); err == nil && seconds > 0 && seconds <= 300 {
		wait = time.Duration(seconds) * time.Second
	} else if err == nil && seconds > 300 {
		wait = 5 * time.Minute
	} else if date, err := http.ParseTime(value); err == nil && time.Until(date) > 0 {
		wait = time.Until(date)
	}
	if wait > 5*time.Minute {
		wait = 5 * time.Minute
	}
	return wait
}

// Sends the body once: the status, with none for no answer or half of one, the answer, and how long it asks to wait.
func send(url string, body []byte) (int, []byte, time.Duration) {
	request, err := http.NewRequest("POST", url+"/publish", bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if token := os.Getenv("SEKALI_TOKEN"); token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, []byte(err.Error()), 0
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, []byte(err.Error()), 0
	}
	return response.StatusCode, answer, asked(response.Header.Get("Retry-After"))
}

// Tries until the event is stored, or refused for a reason that another attempt would meet again.
func publish(url, id string, body []byte) string {
	for limit := 200 * time.Millisecond; ; limit *= 2 {
		status, text, wait := send(url, body)
		var answer struct{ Stored, Conflicts int }
		switch {
		case status == 200 && json.Unmarshal(text, &answer) == nil:
			// A duplicate is a success: an earlier attempt was stored, and its answer was lost on the way. A conflict is
			// not repaired by sending it again: the id belongs to other content, which stays.
			if answer.Conflicts > 0 {
				return "conflict"
			} else if answer.Stored > 0 {
				return "stored"
			}
			return "duplicate"
		case status >= 300 && status < 500 && status != 408 && status != 429:
			log.Fatalf("%s is refused: %d %s", id, status, text)
		}
		// Twice as long each time, so that a busy service recovers; and at random, so that producers do not come together.
		if limit > 30*time.Second {
			limit = 30 * time.Second
		}
		// Without an answer the event may be stored: its id makes it safe to ask again.
		wait += time.Duration(rand.Int63n(int64(limit)))
		log.Printf("%s: again in %.1f s: %d %s", id, wait.Seconds(), status, text)
		time.Sleep(wait)
	}
}

func main() {
	rand.Seed(time.Now().UnixNano()) // before Go 1.20, all producers would wait for the same times
	for orders := json.NewDecoder(os.Stdin); orders.More(); {
		var paid order
		if err := orders.Decode(&paid); err != nil {
			log.Fatal(err)
		}
		// The id says what happened, so every attempt and every run gives it the same one. A random id would have to be
		// stored with the order before the first attempt. The time is that of the order too, and not of the attempt.
		id := fmt.Sprintf("order-%d-paid", paid.ID)
		body, err := json.Marshal(map[string]any{
			"topic": "orders", "event_id": id, "timestamp": paid.PaidAt, "source": "shop", "payload": paid,
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n", id, publish(os.Args[1], id, body))
	}
}

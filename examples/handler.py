"""A handler of webhooks that prints what it gets: `python3 examples/handler.py 4000`. Yours would verify, and act once."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        print(self.headers["webhook-id"], body.decode(), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        """What was posted says enough."""


HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

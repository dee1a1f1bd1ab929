#!/usr/bin/env node
// The daemon.
import '../dist/agent/main.js'

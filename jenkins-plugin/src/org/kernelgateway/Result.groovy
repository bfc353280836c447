package org.kernelgateway

import com.cloudbees.groovy.cps.NonCPS
import groovy.json.JsonSlurper

/** What a run left for its step to read, and what is said of it: on the build's page, and when the build ends with it. */
class Result implements Serializable {
    private static final long serialVersionUID = 1L

    /** The short result that `kernel-gateway run` writes for a step, as a map that pipelines can keep; empty without one. */
    @NonCPS
    static Map parse(String json) {
        Object read = json ? plain(new JsonSlurper().parseText(json)) : null
        return read instanceof Map ? read : [:]
    }

    /** The same in maps and lists that can be kept across steps; a parser's own can't. */
    @NonCPS
    private static Object plain(Object value) {
        if (value instanceof Map) {
            Map copy = [:]
            for (entry in value.entrySet()) {
                copy[entry.key] = plain(entry.value)
            }
            return copy
        }
        if (value instanceof List) {
            List copy = []
            for (item in value) { // no closure: a sandbox finds no private method from inside one
                copy << plain(item)
            }
            return copy
        }
        return value
    }

    /** The address of an archived file. */
    @NonCPS
    static String url(String base, String path) {
        return base + URLEncoder.encode(path, 'UTF-8').replace('+', '%20').replace('%2F', '/')
    }

    /** How a run ended that is no success, as a sentence; null for a success. */
    @NonCPS
    static String sentence(String name, int code, Map result) {
        String reason = result.reason ? ": ${result.reason}".toString() : ''
        if (code == 0) {
            return null
        }
        if (code == 3) {
            return "kernelRun ${name}: a gate is not met${result.missed ? ': ' + result.missed.join('; ') : reason}".toString()
        }
        Map words = [
            1: 'a cell failed', 2: 'it can\'t be run as asked', 4: 'it took too long', 5: 'the kernel died or was lost',
            6: 'the gateway can\'t be reached, or refused', 126: 'the command can\'t be started',
            127: 'there is no command to run it', 130: 'it was cancelled', 137: 'the command was killed, perhaps for want of memory',
            143: 'the command was ended from outside',
        ]
        String what = result.status == 'failed' && code == 1 ? 'it failed' : words[code] ?: 'the command ended'
        String told = reason && !(reason =~ /[.!?]$/) ? reason + '.' : reason ?: '; the console says more.'
        return "kernelRun ${name}: ${what} (exit code ${code})${told}".toString()
    }

    /** The build description's line of a run. Plain words, which read the same whether Jenkins takes them for HTML or not. */
    @NonCPS
    static String line(String name, int code, Map result, String link) {
        String status = result.status ?: (code == 0 ? 'succeeded' : code == 130 || code == 143 ? 'cancelled' : 'failed')
        String figures = (result.headline ?: []).join(', ')
        String text = "${name}: ${status}${figures ? ' · ' + figures : ''}${link ? ' · ' + link : ''}"
        return text.replaceAll(/[<>&"'\p{Cntrl}]/, '_')
    }

    /** A build's description with a run's line in it: in place of the line that an earlier try left, else below the rest. */
    @NonCPS
    static String described(String description, String earlier, String line) {
        if (!description) {
            return line
        }
        List lines = description.readLines()
        int place = earlier ? lines.indexOf(earlier) : -1
        if (place < 0) {
            lines.add(line)
        } else {
            lines[place] = line
        }
        return lines.join('\n')
    }
}

package org.kernelgateway

import com.cloudbees.groovy.cps.NonCPS

/**
 * The arguments of a kernelRun step, checked, and the file of options for `kernel-gateway run` that they become.
 *
 * All of it is plain computing: no pipeline step is called, so every method is @NonCPS and runs at one go. Whatever is wrong is
 * a sentence under the key `problem`, since an exception would not survive the way through a sandbox unchanged.
 */
class Request implements Serializable {
    private static final long serialVersionUID = 1L

    /** Argument to what it is: kind of value, and the option of `kernel-gateway run` that it stands for ('' for none). */
    @NonCPS
    static Map<String, List<String>> known() {
        return [
            notebook: ['text', ''], code: ['text', ''], file: ['text', ''],
            kernel: ['text', 'kernel'], params: ['params', ''], name: ['text', ''],
            gpus: ['whole', 'gpus'], cpus: ['number', 'cpus'], memory: ['size', 'memory'], label: ['text', 'label'],
            maxMemory: ['size', 'max-memory'], maxGpuHours: ['number', 'max-gpu-hours'],
            env: ['text', 'env'], inputs: ['texts', 'input'], artifacts: ['texts', 'artifact'], secrets: ['secrets', ''],
            require: ['texts', 'require'], baseline: ['text', 'baseline'], onGate: ['onGate', ''],
            timeout: ['number', 'timeout'], cellTimeout: ['number', 'cell-timeout'], retries: ['whole', 'retries'],
            allowErrors: ['flag', 'allow-errors'],
            mlflow: ['text', 'mlflow'], register: ['text', 'register'], promote: ['text', 'promote'],
            gateway: ['text', 'gateway'], credentialsId: ['text', ''], client: ['text', ''],
            outputDir: ['text', ''], publish: ['flag', ''],
        ]
    }

    /**
     * The request that the arguments make: `options` (the file's), `code` (a snippet or null), `name`, `outputDir` (null if
     * not given), `secrets` (environment variable to credentials id, null where the variable is there already), and the rest
     * as given. Or `problem`, what is wrong with them.
     */
    @NonCPS
    static Map make(Map given) {
        Map known = known()
        Map values = [:]
        for (entry in given.entrySet()) {
            String name = String.valueOf(entry.key)
            if (!known.containsKey(name)) {
                return [problem: "there is no argument '${name}'.${hint(name, known.keySet())} There are: ${known.keySet().join(', ')}.".toString()]
            }
            if (entry.value == null) {
                continue
            }
            Map read = read(name, known[name][0], entry.value)
            if (read.problem) {
                return [problem: "${name}: ${read.problem}".toString()]
            }
            values[name] = read.value
        }
        String contradiction = contradiction(values)
        if (contradiction) {
            return [problem: contradiction]
        }
        Map options = [:]
        for (entry in known.entrySet()) {
            if (entry.value[1] && values.containsKey(entry.key)) {
                options[entry.value[1]] = values[entry.key]
            }
        }
        String source = values.notebook ?: values.file
        if (source) {
            options.source = source
        }
        if (values.params) {
            options.params = values.params
        }
        if (values.onGate == 'failure') {
            options['gate-fails'] = true
        }
        Map secrets = values.secrets ?: [:]
        if (secrets) {
            options.secret = new ArrayList(secrets.keySet())
        }
        return [
            options: options, code: values.code, name: values.name ?: nameOf(source), outputDir: values.outputDir,
            secrets: secrets, gateway: values.gateway, credentialsId: values.credentialsId, client: values.client,
            publish: values.publish != false,
        ]
    }

    @NonCPS
    private static String contradiction(Map values) {
        List sources = ['notebook', 'code', 'file'].findAll { values.containsKey(it) }
        if (sources.size() != 1) {
            return (sources ? "${sources.join(' and ')} are given; keep one of them." : 'name what to run: notebook, file or code.').toString()
        }
        if (values.promote && !values.register) {
            return 'promote: takes register: as well, the name of the model.'
        }
        if (values.credentialsId && values.gateway == '') {
            return "credentialsId: is for a gateway's token, and gateway: is empty."
        }
        String folder = values.outputDir
        if (folder != null && (folder.startsWith('/') || folder =~ /[*?,\\\p{Cntrl}]/ || folder.tokenize('/').any { it == '..' } || !folder.replaceAll('[./]', ''))) {
            return "outputDir: '${folder}' must be a folder in the workspace, relative to the current one, without .. * ? , and \\.".toString()
        }
        return null
    }

    /** One argument's `value`, or `problem`. */
    @NonCPS
    private static Map read(String name, String kind, Object given) {
        if (kind == 'text') {
            return given instanceof CharSequence ? text(name, given.toString()) : wrong('a text', given)
        }
        if (kind == 'flag') {
            return given instanceof Boolean ? [value: given] : given.toString() in ['true', 'false'] ? [value: given.toString() == 'true'] : wrong('true or false', given)
        }
        if (kind == 'size') {
            return given instanceof Number || given instanceof CharSequence ? [value: given.toString()] : wrong("a size such as '8G'", given)
        }
        if (kind == 'onGate') {
            return given.toString() in ['unstable', 'failure'] ? [value: given.toString()] : wrong("'unstable' or 'failure'", given)
        }
        if (kind == 'whole' || kind == 'number') {
            return number(kind == 'whole', given)
        }
        if (kind == 'texts') {
            List items = given instanceof Collection ? new ArrayList(given) : [given]
            boolean fits = items.every { it instanceof CharSequence }
            return fits ? [value: items.collect { it.toString() }] : wrong('a text or a list of texts', given)
        }
        return kind == 'secrets' ? secrets(given) : params(given)
    }

    @NonCPS
    private static Map text(String name, String text) {
        if (name == 'name' && (text.contains('/') || text =~ /\p{Cntrl}/ || !text.replace('.', '').trim() || text.length() > 150)) {
            return [problem: 'it must have up to 150 characters, no slash or line feed, and not only dots.']
        }
        boolean mayBeEmpty = name in ['code', 'gateway', 'credentialsId', 'client']
        return text || mayBeEmpty ? [value: text] : [problem: 'it is empty.']
    }

    /** Numbers, and texts that are numbers: what a build's parameters are. */
    @NonCPS
    private static Map number(boolean whole, Object given) {
        String expected = whole ? 'a whole number from 0 on' : 'a number of more than 0'
        if (!(given instanceof Number || given instanceof CharSequence) || !(given.toString().trim() ==~ /\d{1,9}(\.\d{1,9})?/)) {
            return wrong(expected, given)
        }
        String text = given.toString().trim()
        Object value = text.contains('.') ? text.toDouble() : text.toLong()
        boolean fits = whole ? !text.contains('.') : value > 0
        return fits ? [value: value] : wrong(expected, given)
    }

    /** Names of environment variables, or variable to credentials id. */
    @NonCPS
    private static Map secrets(Object given) {
        Map found = [:]
        if (given instanceof Map) {
            for (entry in given.entrySet()) {
                if (!(entry.value instanceof CharSequence)) {
                    return wrong('names of environment variables, or a map of such names to ids of “Secret text” credentials', given)
                }
                found[entry.key.toString()] = entry.value.toString()
            }
        } else {
            for (item in (given instanceof Collection ? given : [given])) {
                found[item.toString()] = null
            }
        }
        for (variable in found.keySet()) {
            if (!(variable ==~ /[A-Za-z_][A-Za-z0-9_]*/)) {
                return [problem: "'${variable}' can't be the name of an environment variable.".toString()]
            }
        }
        return [value: found]
    }

    @NonCPS
    private static Map params(Object given) {
        if (given instanceof Map) {
            Map found = [:]
            for (entry in given.entrySet()) {
                Map item = json(entry.value, entry.key.toString())
                if (item.problem) {
                    return item
                }
                found[entry.key.toString()] = item.value
            }
            return [value: found]
        }
        if (given instanceof Collection && given.every { it instanceof CharSequence && it.toString().contains('=') }) {
            return [value: given.collect { it.toString() }]
        }
        return wrong("a map such as [epochs: 20], or a list of texts such as ['epochs=20']", given)
    }

    /** A value with nothing but JSON's types in it: what a GString says, and no objects that only look like numbers or texts. */
    @NonCPS
    private static Map json(Object value, String where) {
        if (value == null || value instanceof Boolean || value instanceof String) {
            return [value: value]
        }
        if (value instanceof CharSequence) {
            return [value: value.toString()]
        }
        if (value instanceof Number) {
            boolean finite = !(value instanceof Double || value instanceof Float) || !(value.toString() in ['NaN', 'Infinity', '-Infinity'])
            return finite ? [value: value] : [problem: "${where} is ${value}, which JSON can't hold.".toString()]
        }
        if (value instanceof Map) {
            Map found = [:]
            for (entry in value.entrySet()) {
                Map item = json(entry.value, "${where}.${entry.key}".toString())
                if (item.problem) {
                    return item
                }
                found[entry.key.toString()] = item.value
            }
            return [value: found]
        }
        if (value instanceof Collection) {
            List found = []
            for (one in value) {
                Map item = json(one, "${where}[${found.size()}]".toString())
                if (item.problem) {
                    return item
                }
                found << item.value
            }
            return [value: found]
        }
        return [problem: "the parameter ${where} is no text, number, true, false, null, list or map. Give its text: \"\${…}\".".toString()]
    }

    @NonCPS
    private static Map wrong(String expected, Object given) {
        String told = String.valueOf(given)
        return [problem: "it must be ${expected}, not ${given instanceof CharSequence ? "'${told.take(80)}'" : told.take(80)}.".toString()]
    }

    /** What a run is called unless it is told: as `kernel-gateway run` has it. */
    @NonCPS
    private static String nameOf(String source) {
        if (source == null) {
            return 'snippet'
        }
        if (source.startsWith('gate:')) {
            return 'gate-' + source.substring(5)
        }
        String file = source.tokenize('/').reverse().find { it } ?: 'run'
        int dot = file.lastIndexOf('.')
        return dot > 0 ? file.substring(0, dot) : file
    }

    /** A run's name as a folder that any agent's file system takes, and that no pattern of archiveArtifacts misreads. */
    @NonCPS
    static String folderOf(String name) {
        String plain = name.replaceAll(/[^A-Za-z0-9._ -]/, '_').trim().take(150)
        return plain.replaceAll('[. ]', '') ? plain : 'run'
    }

    /** " Did you mean …?" where a known name is near. */
    @NonCPS
    private static String hint(String name, Collection<String> names) {
        String best = null
        int least = 3
        for (candidate in names) {
            int steps = distance(name.toLowerCase(), candidate.toLowerCase())
            if (steps < least) {
                least = steps
                best = candidate
            }
        }
        return best ? " Did you mean '${best}'?".toString() : ''
    }

    /** Letters to change, add or leave out to make one word the other (Levenshtein). */
    @NonCPS
    private static int distance(String one, String other) {
        List row = new ArrayList(0..other.length())
        for (int i = 1; i <= one.length(); i++) {
            int diagonal = row[0]
            row[0] = i
            for (int j = 1; j <= other.length(); j++) {
                int above = row[j]
                int changed = diagonal + (one.charAt(i - 1) == other.charAt(j - 1) ? 0 : 1)
                row[j] = Math.min(changed, Math.min(above, (int) row[j - 1]) + 1)
                diagonal = above
            }
        }
        return row[other.length()]
    }
}

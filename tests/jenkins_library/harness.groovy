/*
 * Runs pipeline scripts on the shared library: groovy -cp SRC:STUBS harness.groovy VARS RESOURCES SCENARIOS.json RESULTS.json
 *
 * The steps are stand-ins that record how they were called; `sh` really runs its script, as Jenkins does: the text in a
 * file of its own, run by the interpreter that the first line names, in the workspace, with the build's variables. A scenario
 * is {script, workspace, env, inputs, missing, credentials, canned}; its result {steps, value, error, console, description, result}.
 * `parallel` has its branches take turns as Jenkins' engine does: another goes on while one waits for its shell.
 */

import groovy.json.JsonOutput
import groovy.json.JsonSlurperClassic
import java.util.concurrent.locks.ReentrantLock
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

class Build {
    Map scenario
    List steps = []
    StringBuffer console = new StringBuffer()
    Map currentBuild = [description: scenario?.description, result: null]
    ReentrantLock turn = new ReentrantLock(true)
    InheritableThreadLocal<Map> variables = new InheritableThreadLocal<Map>()
    InheritableThreadLocal<String> folder = new InheritableThreadLocal<String>()
    Map library = [:]
    File resources

    void record(String name, Map arguments) {
        steps << [name: name, arguments: arguments]
        if (name in scenario.missing) {
            throw new NoSuchMethodError("No such DSL method '${name}' found among steps [archive, echo, sh]")
        }
    }

    /** What Jenkins does to the values of withEnv: $NAME and ${NAME} are replaced where NAME is known, $$ is a $. */
    String expand(String value) {
        Map known = variables.get()
        return value.replaceAll(/\$\$|\$(\w+)|\$\{(\w+)\}/) { List found ->
            if (found[0] == '$$') {
                return '$'
            }
            String name = found[1] ?: found[2]
            return known.containsKey(name) ? known[name] : found[0]
        }
    }

    int shell(String script) {
        File file = File.createTempFile('script', '.sh')
        file.setText(script, 'UTF-8')
        file.setExecutable(true)
        List command = script.startsWith('#!') ? [script.readLines()[0].substring(2).trim(), file.path] : ['sh', '-xe', file.path]
        ProcessBuilder builder = new ProcessBuilder(command as List<String>)
        builder.directory(new File(folder.get()))
        builder.environment().clear()
        builder.environment().putAll(variables.get())
        builder.redirectErrorStream(true)
        turn.unlock()
        try {
            Process process = builder.start()
            process.outputStream.close()
            console.append(process.inputStream.getText('UTF-8'))
            return process.waitFor()
        } finally {
            turn.lock()
            file.delete()
        }
    }
}

abstract class Steps extends Script {
    Build getBuild() {
        return binding.getVariable('build')
    }

    def methodMissing(String name, Object arguments) {
        Object step = build.library[name]
        if (step == null) {
            build.record(name, [:])
            throw new NoSuchMethodError("No such DSL method '${name}' found among steps [archive, echo, sh]")
        }
        return step.call(*(arguments as List))
    }

    def getCurrentBuild() {
        return build.currentBuild
    }

    def getEnv() {
        return build.variables.get()
    }

    String pwd(Map arguments = [:]) {
        build.record('pwd', arguments)
        return arguments.tmp ? build.folder.get() + '@tmp' : build.folder.get()
    }

    File path(String name) {
        return name.startsWith('/') ? new File(name) : new File(build.folder.get(), name)
    }

    def writeFile(Map arguments) {
        build.record('writeFile', [file: arguments.file, encoding: arguments.encoding])
        path(arguments.file).parentFile.mkdirs()
        path(arguments.file).setText(arguments.text, arguments.encoding)
    }

    String readFile(Map arguments) {
        build.record('readFile', arguments)
        return path(arguments.file).getText(arguments.encoding)
    }

    boolean fileExists(String name) {
        build.record('fileExists', [file: name])
        return path(name).exists()
    }

    def dir(String name, Closure body) {
        String before = build.folder.get()
        build.folder.set(path(name).path)
        try {
            return body()
        } finally {
            build.folder.set(before)
        }
    }

    def deleteDir() {
        build.record('deleteDir', [folder: build.folder.get()])
        new File(build.folder.get()).deleteDir()
    }

    String libraryResource(String name) {
        return new File(build.resources, name).getText('UTF-8')
    }

    def withEnv(List overrides, Closure body) {
        build.record('withEnv', [overrides: overrides])
        Map before = build.variables.get()
        Map now = new HashMap(before)
        for (item in overrides) {
            List parts = item.toString().split('=', 2) as List
            now[parts[0]] = build.expand(parts[1])
        }
        build.variables.set(now)
        try {
            return body()
        } finally {
            build.variables.set(before)
        }
    }

    Map string(Map arguments) {
        return arguments
    }

    def withCredentials(List bindings, Closure body) {
        build.record('withCredentials', [bindings: bindings])
        Map before = build.variables.get()
        build.variables.set(before + bindings.collectEntries { [(it.variable): build.scenario.credentials[it.credentialsId]] })
        try {
            return body()
        } finally {
            build.variables.set(before)
        }
    }

    def sh(Map arguments) {
        build.record('sh', arguments)
        Map canned = build.scenario.canned
        if (canned != null) {
            build.record('request', [text: path(build.variables.get().KERNEL_GATEWAY_REQUEST + '/request.json').getText('UTF-8')])
        }
        if (canned?.result) {
            path(build.variables.get().KERNEL_GATEWAY_REQUEST + '/request.result.json').setText(JsonOutput.toJson(canned.result), 'UTF-8')
        }
        if (canned?.interrupt) {
            throw new FlowInterruptedException()
        }
        if (canned?.lost) {
            throw new IOException('Unable to create live FilePath for agent-1')
        }
        return canned?.code != null ? canned.code : build.shell(arguments.script)
    }

    def archiveArtifacts(Map arguments) {
        build.record('archiveArtifacts', arguments)
        if (build.scenario.canned?.archiving) {
            throw new IOException(build.scenario.canned.archiving)
        }
    }

    def junit(Map arguments) {
        build.record('junit', arguments)
    }

    def publishHTML(Map arguments) {
        build.record('publishHTML', arguments)
    }

    def unstable(String message) {
        build.record('unstable', [message: message])
        build.currentBuild.result = 'UNSTABLE'
    }

    def error(String message) {
        build.record('error', [message: message])
        throw new IllegalStateException(message)
    }

    def echo(String message) {
        build.record('echo', [message: message])
        build.console.append(message + '\n')
    }

    def retry(int count, Closure body) {
        for (int i = 1; ; i++) {
            try {
                return body()
            } catch (IllegalStateException failed) {
                if (i == count) {
                    throw failed
                }
            }
        }
    }

    def parallel(Map branches) {
        Map values = new LinkedHashMap()
        List failures = Collections.synchronizedList([])
        build.turn.unlock()
        List threads = branches.collect { name, body ->
            Thread.start {
                build.turn.lock()
                try {
                    values[name] = body()
                } catch (Throwable failed) {
                    failures << failed
                } finally {
                    build.turn.unlock()
                }
            }
        }
        threads.each { it.join() }
        build.turn.lock()
        if (failures) {
            throw failures[0]
        }
        return values
    }
}

def (vars, resources, scenarios, results) = args
def configuration = new org.codehaus.groovy.control.CompilerConfiguration(scriptBaseClass: Steps.name, sourceEncoding: 'UTF-8')
def loader = new GroovyClassLoader(this.class.classLoader, configuration)
def steps = new File(vars).listFiles().findAll { it.name.endsWith('.groovy') }.collectEntries {
    [(it.name - '.groovy'): loader.parseClass(it)]
}
def outcomes = new JsonSlurperClassic().parseText(new File(scenarios).getText('UTF-8')).collect { scenario ->
    def build = new Build(scenario: scenario, resources: new File(resources))
    build.currentBuild = [description: scenario.description, result: null]
    build.variables.set(scenario.env ?: [:])
    build.folder.set(scenario.workspace)
    def binding = new Binding([build: build, inputs: scenario.inputs ?: [:]])
    steps.each { name, type ->
        build.library[name] = type.newInstance()
        build.library[name].binding = binding
    }
    def outcome = [:]
    build.turn.lock()
    try {
        Script pipeline = loader.parseClass(scenario.script).newInstance()
        pipeline.binding = binding
        outcome.value = pipeline.run()
    } catch (Throwable failed) {
        outcome.error = [type: failed.class.name, message: failed.message]
    } finally {
        build.turn.unlock()
    }
    outcome + [
        steps: build.steps, console: build.console.toString(), description: build.currentBuild.description,
        result: build.currentBuild.result,
    ]
}
new File(results).setText(JsonOutput.toJson(outcomes), 'UTF-8')

import com.cloudbees.groovy.cps.NonCPS
import groovy.json.JsonOutput
import groovy.transform.Field
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException
import org.kernelgateway.Request
import org.kernelgateway.Result

/*
 * Runs a notebook, script or snippet as a build step: kernelRun.txt says what it takes and gives back.
 *
 * Nothing that a user writes becomes a part of a shell command: it goes into a file, which `kernel-gateway run --options`
 * reads. The command's own shell step is durable, so a restart of the controller or an agent's reconnect loses nothing.
 *
 * This object is one for each build, and kept with it. Its fields know the build's calls so far.
 */

/** Calls of this build by name: what was asked for, so that a retry finds its folder again and another call gets its own. */
@Field Map places = [:]

/** Call to true while it is under way. */
@Field Map active = [:]

/** Call to how many of its tries ended before our eyes: the next one is a new run, and one whose end we missed is not. */
@Field Map ended = [:]

/** What was said once already; and the description's lines by folder. */
@Field Map told = [:]
@Field Map lines = [:]

def call(String notebook) {
    return call([notebook: notebook])
}

def call(Map arguments, String notebook) {
    return call([notebook: notebook] + arguments)
}

def call(Map arguments = [:]) {
    Map request = Request.make(arguments)
    if (request.problem) {
        error("kernelRun: ${request.problem}")
    }
    String asked = JsonOutput.toJson([options: request.options, code: request.code?.hashCode(), folder: request.outputDir])
    int place = placeOf(request.name, asked)
    String step = "${request.name}#${place}"
    String name = place == 1 ? request.name : "${request.name}-${place}"
    String outputDir = request.outputDir ?: "kernel-runs/${Request.folderOf(name)}"
    if (place > 1 && !told[step]) {
        told[step] = true
        echo("kernelRun: the name ${request.name} is taken in this build, so this run is called ${name}. Name it by name: yourself.")
    }
    Map file = request.options + [name: name, 'output-dir': outputDir, step: step, 'try': (ended[step] ?: 0) + 1]
    try {
        return runStep(request, file, name, outputDir)
    } finally {
        active.remove(step)
    }
}

/**
 * Which of the build's calls with a name this is, from 1 on: the same again for the same once more, as in a retry. The call
 * is then under way. @NonCPS, since parallel branches may come in between anywhere else.
 */
@NonCPS
private int placeOf(String name, String asked) {
    List earlier = places[name] ?: []
    for (int i = 0; i < earlier.size(); i++) {
        String step = "${name}#${i + 1}"
        if (earlier[i] == asked && !active[step]) {
            active[step] = true
            return i + 1
        }
    }
    int place = earlier.size() + 1
    places[name] = earlier + [asked]
    active["${name}#${place}".toString()] = true
    return place
}

private Map runStep(Map request, Map file, String name, String outputDir) {
    String folder = "${pwd(tmp: true)}/kernelRun-${UUID.randomUUID()}"
    int code = -1
    Map result = [:]
    try {
        writeRequest(request, file, folder)
        code = runCommand(request, folder, name)
        ended[file.step] = file['try']
        result = readResult(folder)
    } catch (Exception stopped) {
        // An aborted build, a lost agent: what is there is published all the same, and the reason stays what it was.
        try {
            Map left = readResult(folder)
            if (left) {
                ended[file.step] = file['try']
            }
            publish(request, name, outputDir, stopped instanceof FlowInterruptedException ? 130 : -1, left)
            remove(folder)
        } catch (FlowInterruptedException again) {
            throw again
        } catch (Exception another) {
            echo("kernelRun: the results of ${name} can't be published: ${another.message}")
        }
        throw stopped
    }
    String reportUrl = publish(request, name, outputDir, code, result)
    remove(folder)
    String sentence = Result.sentence(name, code, result)
    if (code == 3) {
        markUnstable(sentence)
    } else if (code != 0) {
        error(sentence)
    }
    return [
        status: result.status ?: 'succeeded', metrics: result.metrics ?: [:], artifacts: result.artifacts ?: [],
        gates: result.gates ?: [], runId: result.run, runUrl: result.url, reportUrl: reportUrl, outputDir: outputDir,
        name: name, exitCode: code,
    ]
}

/** Puts the request and what runs it into the step's folder. */
private void writeRequest(Map request, Map file, String folder) {
    Map options = file
    if (request.code != null) {
        writeFile(file: "${folder}/snippet", text: request.code, encoding: 'UTF-8')
        options = options + ['code-file': 'snippet']
    }
    writeFile(file: "${folder}/request.json", text: JsonOutput.toJson(options), encoding: 'UTF-8')
    writeFile(file: "${folder}/bootstrap.py", text: libraryResource('org/kernelgateway/bootstrap.py'), encoding: 'UTF-8')
}

/** The exit code of `kernel-gateway run`. */
private int runCommand(Map request, String folder, String name) {
    // Jenkins may put variables in where a value has $NAME; $$ is a $ then, and run.sh knows it otherwise.
    List variables = ["KERNEL_GATEWAY_REQUEST=${folder.replace('$', '$$')}"]
    if (request.client) {
        variables << "KERNEL_GATEWAY_CLIENT=${request.client.replace('$', '$$')}"
    }
    List credentials = []
    if (request.credentialsId) {
        credentials << string(credentialsId: request.credentialsId, variable: 'KERNEL_GATEWAY_TOKEN')
    }
    for (variable in new ArrayList(request.secrets.keySet())) {
        if (request.secrets[variable]) {
            credentials << string(credentialsId: request.secrets[variable], variable: variable)
        }
    }
    String script = libraryResource('org/kernelgateway/run.sh')
    int code = -1
    withEnv(variables) {
        if (credentials) {
            withCredentials(credentials) {
                code = sh(script: script, returnStatus: true, label: "kernelRun ${name}")
            }
        } else {
            code = sh(script: script, returnStatus: true, label: "kernelRun ${name}")
        }
    }
    return code
}

/** The short result that the command leaves; empty where it did not come to that. */
private Map readResult(String folder) {
    String file = "${folder}/request.result.json"
    return Result.parse(fileExists(file) ? readFile(file: file, encoding: 'UTF-8') : '')
}

/** Gives Jenkins the results, as far as there are any; returns the report's address, or null. */
private String publish(Map request, String name, String outputDir, int code, Map result) {
    String link = result.url
    if (request.publish && hasResults(outputDir, result)) {
        archiveArtifacts(artifacts: "${outputDir}/**", fingerprint: true, allowEmptyArchive: true, defaultExcludes: false)
        if (fileExists("${outputDir}/report/index.html") && env.BUILD_URL) {
            link = Result.url("${env.BUILD_URL}artifact/", "${outputDir}/report/index.html")
        }
        optional('junit', 'JUnit', 'test results: a test for each cell and gate') {
            // Whether the build is unstable is the gates' matter: cells may fail by allowErrors, or in a try before the last.
            junit(testResults: "${outputDir}/junit.xml", allowEmptyResults: true, skipMarkingBuildUnstable: true)
        }
        optional('kernelResults', 'Kernel Gateway', 'the page “Kernel run” with gates and figures, and the trend of metrics') {
            kernelResults(dir: outputDir, archive: false)
        }
        if (fileExists("${outputDir}/report/index.html")) {
            optional('publishHTML', 'HTML Publisher', 'a link to the report on the build\'s page') {
                publishHTML(target: [
                    reportDir: outputDir, reportFiles: 'report/index.html', reportName: "Notebook ${name}",
                    keepAll: true, alwaysLinkToLastBuild: true, allowMissing: true,
                ])
            }
        }
    }
    describe(name, Result.line(name, code, result, link))
    return link
}

/**
 * Whether there is something of this run to publish: its record, or what a command left that was killed. A record of which
 * the command did not tell is an earlier build's, whose results must not pass for this one's.
 */
private boolean hasResults(String outputDir, Map result) {
    return result || (!fileExists("${outputDir}/run.json") && fileExists("${outputDir}/events.jsonl"))
}

/** Puts a run's line into the build's description. @NonCPS, so that no parallel branch reads it before it is written. */
@NonCPS
private void describe(String name, String line) {
    currentBuild.description = Result.described(currentBuild.description, lines[name], line)
    lines[name] = line
}

/** Runs a body that calls a step which a plugin brings; without that plugin it says so, once in a build. */
private void optional(String step, String plugin, String what, Closure body) {
    try {
        body()
    } catch (NoSuchMethodError missing) {
        if (!missing.message?.contains("'${step}'")) {
            throw missing
        }
        if (!told[step]) {
            told[step] = true
            echo("kernelRun: with the plugin “${plugin}” there would be ${what}.")
        }
    }
}

private void markUnstable(String sentence) {
    try {
        unstable(sentence)
    } catch (NoSuchMethodError missing) {
        echo(sentence)
        currentBuild.result = 'UNSTABLE'
    }
}

/** Leaves nothing of the request behind: it holds the snippet and the parameters. */
private void remove(String folder) {
    dir(folder) {
        deleteDir()
    }
}

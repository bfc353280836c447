package org.kernelgateway.jenkins;

import edu.umd.cs.findbugs.annotations.NonNull;
import hudson.AbortException;
import hudson.EnvVars;
import hudson.FilePath;
import hudson.Launcher;
import hudson.Util;
import hudson.model.AbstractBuild;
import hudson.model.Result;
import hudson.model.Run;
import hudson.model.TaskListener;
import hudson.util.Secret;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import jenkins.tasks.SimpleBuildStep;
import org.kernelgateway.jenkins.model.Paths;
import org.kernelgateway.jenkins.model.RunEnd;
import org.kernelgateway.jenkins.model.RunRequest;
import org.kernelgateway.jenkins.model.TextLines;
import org.kohsuke.stapler.DataBoundConstructor;
import org.kohsuke.stapler.DataBoundSetter;

/**
 * The build step "Run on a kernel": one source, run by the kernel-gateway command on the build's agent.
 *
 * <p>In freestyle projects always; in pipelines where the shared library is not set up, for a library's variable
 * kernelRun comes before a plugin's step of that name. The library's step survives a restart of the controller, this
 * one does not.
 */
public class KernelRunStep extends KernelRunOptions implements SimpleBuildStep {
    static final String UNSTABLE = "unstable";
    static final String FAILURE = "failure";

    /** Output folders that runs of builds have chosen and have not left yet. */
    private static final Set<String> UNDER_WAY = ConcurrentHashMap.newKeySet();

    private String notebook;
    private String file;
    private String code;
    private List<String> params = new ArrayList<>();
    private Map<String, Object> typedParams;
    private List<String> require = new ArrayList<>();
    private List<String> artifacts = new ArrayList<>();
    private List<String> inputs = new ArrayList<>();
    private List<String> secrets = new ArrayList<>();
    private String onGate = UNSTABLE;

    @DataBoundConstructor
    public KernelRunStep() {}

    @Override
    public void perform(
            @NonNull Run<?, ?> run,
            @NonNull FilePath workspace,
            @NonNull EnvVars env,
            @NonNull Launcher launcher,
            @NonNull TaskListener listener)
            throws InterruptedException, IOException {
        // A pipeline has put its variables in already, and a dollar sign there is meant.
        UnaryOperator<String> expand = run instanceof AbstractBuild ? env::expand : UnaryOperator.identity();
        GatewayTarget target = GatewayTarget.of(run.getParent(), value(getGateway(), expand), getCredentialsId());
        RunRequest request = request(expand);
        if (!target.isOpen()) {
            request.gateway(target.url());
        }
        Map<String, Secret> credentials = credentials(run, expand);
        Secret token = target.token(run);
        if (token != null) {
            credentials.put(KernelCommand.TOKEN_VARIABLE, token);
        }
        KernelResults results = new KernelResults(run, workspace, env, launcher, listener);
        KernelCommand command = new KernelCommand(workspace, env, launcher, listener, credentials);
        String directory = place(run, request, expand);
        try {
            conclude(run, listener, runIn(directory, results, () -> command.run(request, code, value(getClient(), expand))));
        } finally {
            UNDER_WAY.remove(key(run, directory));
        }
    }

    private RunEnd runIn(String directory, KernelResults results, Command command)
            throws InterruptedException, IOException {
        String before = results.record(directory);
        try {
            return command.run();
        } finally {
            String after = results.record(directory);
            // What lies there from an earlier build is not this build's.
            if (isPublish() && after != null && !after.equals(before)) {
                results.publish(directory, true);
            }
        }
    }

    /** The command, ready to run. */
    private interface Command {
        RunEnd run() throws InterruptedException, IOException;
    }

    private void conclude(Run<?, ?> run, TaskListener listener, RunEnd end) throws AbortException {
        switch (end.verdict(FAILURE.equals(onGate))) {
            case SUCCESS:
                break;
            case UNSTABLE:
                listener.getLogger().println("kernelRun: " + end.sentence());
                run.setResult(Result.UNSTABLE);
                break;
            case ABORTED:
                run.setResult(Result.ABORTED);
                throw new AbortException("kernelRun: " + end.sentence());
            default:
                throw new AbortException("kernelRun: " + end.sentence());
        }
    }

    /** The request without gateway and output folder. Raises {@link AbortException} for what can't be meant. */
    RunRequest request(UnaryOperator<String> expand) throws AbortException {
        RunRequest request = new RunRequest();
        try {
            request.option("source", source(expand))
                    .option("kernel", value(getKernel(), expand))
                    .parameters(typedParams, values(params, expand))
                    .option("timeout", getTimeout())
                    .option("cell-timeout", getCellTimeout())
                    .option("gpus", getGpus())
                    .option("cpus", getCpus())
                    .option("memory", value(getMemory(), expand))
                    .option("max-memory", value(getMaxMemory(), expand))
                    .option("max-gpu-hours", getMaxGpuHours())
                    .option("label", value(getLabel(), expand))
                    .option("env", value(getEnv(), expand))
                    .option("input", values(inputs, expand))
                    .option("artifact", values(artifacts, expand))
                    .option("require", values(require, expand))
                    .option("baseline", value(getBaseline(), expand))
                    .option("secret", new ArrayList<>(TextLines.secrets(values(secrets, expand)).keySet()))
                    .option("mlflow", value(getMlflow(), expand))
                    .option("register", value(getRegister(), expand))
                    .option("promote", value(getPromote(), expand))
                    .option("allow-errors", isAllowErrors())
                    .option("gate-fails", FAILURE.equals(onGate))
                    .option("retries", getRetries())
                    .option("step", "plugin-" + UUID.randomUUID());
        } catch (IllegalArgumentException wrong) {
            throw new AbortException("kernelRun: " + wrong.getMessage());
        }
        return request;
    }

    private String source(UnaryOperator<String> expand) throws AbortException {
        String source = value(notebook != null ? notebook : file, expand);
        int named = (notebook == null ? 0 : 1) + (file == null ? 0 : 1) + (code == null ? 0 : 1);
        if (named != 1 || (code == null && Util.fixEmptyAndTrim(source) == null)) {
            throw new AbortException("kernelRun: name one of notebook, file and code.");
        }
        return source;
    }

    /**
     * Gives the run its name and output folder; of a second one with a name in a build, both end in -2, and so on. The
     * folder is under way from then on, for another branch of the build may ask in the same moment.
     */
    private String place(Run<?, ?> run, RunRequest request, UnaryOperator<String> expand) throws AbortException {
        String first = value(getName(), expand);
        first = first == null ? Paths.nameOf(source(expand)) : first;
        String name = first;
        String directory = value(getOutputDir(), expand);
        if (directory == null) {
            directory = "kernel-runs/" + Paths.folderOf(name);
            for (int count = 2; !reserve(run, directory); count++) {
                name = first + "-" + count;
                directory = "kernel-runs/" + Paths.folderOf(name);
            }
        }
        String problem = Paths.folderProblem(directory);
        if (problem != null) {
            throw new AbortException("kernelRun: outputDir: " + problem);
        }
        request.option("name", name).option("output-dir", directory);
        return directory;
    }

    /** Whether a folder is this run's from now on. A run that has ended is on the build's page before it leaves its own. */
    private static boolean reserve(Run<?, ?> run, String directory) {
        if (!UNDER_WAY.add(key(run, directory))) {
            return false;
        }
        KernelRunAction action = run.getAction(KernelRunAction.class);
        boolean free = action == null || !action.holds(directory);
        if (!free) {
            UNDER_WAY.remove(key(run, directory));
        }
        return free;
    }

    private static String key(Run<?, ?> run, String directory) {
        return run.getExternalizableId() + " " + directory;
    }

    /** The credentials that secrets name by NAME=id, by their variable. */
    private Map<String, Secret> credentials(Run<?, ?> run, UnaryOperator<String> expand) throws AbortException {
        Map<String, Secret> found = new LinkedHashMap<>();
        for (Map.Entry<String, String> secret :
                TextLines.secrets(values(secrets, expand)).entrySet()) {
            if (!secret.getValue().isEmpty()) {
                found.put(secret.getKey(), Tokens.find(secret.getValue(), run));
            }
        }
        return found;
    }

    private static String value(String text, UnaryOperator<String> expand) {
        return text == null ? null : Util.fixEmptyAndTrim(expand.apply(text));
    }

    private static List<String> values(List<String> texts, UnaryOperator<String> expand) {
        return texts.stream().map(expand).collect(Collectors.toList());
    }

    /** A notebook of the workspace. */
    public String getNotebook() {
        return notebook;
    }

    @DataBoundSetter
    public void setNotebook(String notebook) {
        this.notebook = Util.fixEmptyAndTrim(notebook);
    }

    /** A script or another kind of source of the workspace. */
    public String getFile() {
        return file;
    }

    @DataBoundSetter
    public void setFile(String file) {
        this.file = Util.fixEmptyAndTrim(file);
    }

    /** A snippet. */
    public String getCode() {
        return code;
    }

    @DataBoundSetter
    public void setCode(String code) {
        this.code = Util.fixEmpty(code);
    }

    /** Parameters as texts name=value, which the command types as YAML. */
    public List<String> getParams() {
        return params;
    }

    @DataBoundSetter
    public void setParams(List<String> params) {
        this.params = copy(params);
    }

    /** Parameters with types: what a pipeline's map becomes. */
    public Map<String, Object> getTypedParams() {
        return typedParams;
    }

    @DataBoundSetter
    public void setTypedParams(Map<String, Object> typedParams) {
        this.typedParams = typedParams == null || typedParams.isEmpty() ? null : new LinkedHashMap<>(typedParams);
    }

    /** Gates. */
    public List<String> getRequire() {
        return require;
    }

    @DataBoundSetter
    public void setRequire(List<String> require) {
        this.require = copy(require);
    }

    /** Globs of files to bring back. */
    public List<String> getArtifacts() {
        return artifacts;
    }

    @DataBoundSetter
    public void setArtifacts(List<String> artifacts) {
        this.artifacts = copy(artifacts);
    }

    /** Globs of files that a gateway gets along. */
    public List<String> getInputs() {
        return inputs;
    }

    @DataBoundSetter
    public void setInputs(List<String> inputs) {
        this.inputs = copy(inputs);
    }

    /** Environment variables to pass on and mask: NAME, or NAME=id to take it from a secret text. */
    public List<String> getSecrets() {
        return secrets;
    }

    @DataBoundSetter
    public void setSecrets(List<String> secrets) {
        this.secrets = copy(secrets);
    }

    /** What a missed gate makes of the build: unstable or failure. */
    public String getOnGate() {
        return onGate;
    }

    @DataBoundSetter
    public void setOnGate(String onGate) {
        String chosen = Util.fixEmptyAndTrim(onGate);
        if (chosen != null && !chosen.equals(UNSTABLE) && !chosen.equals(FAILURE)) {
            throw new IllegalArgumentException(
                    "kernelRun: onGate: it must be 'unstable' or 'failure', not '" + chosen + "'.");
        }
        this.onGate = chosen == null ? UNSTABLE : chosen;
    }

    private static List<String> copy(List<String> values) {
        return values == null ? new ArrayList<>() : new ArrayList<>(values);
    }

    /** A job's file may lack what its writer did not need to say. */
    private Object readResolve() {
        setParams(params);
        setRequire(require);
        setArtifacts(artifacts);
        setInputs(inputs);
        setSecrets(secrets);
        onGate = FAILURE.equals(onGate) ? FAILURE : UNSTABLE;
        return this;
    }

    @Override
    public KernelRunStepDescriptor getDescriptor() {
        return (KernelRunStepDescriptor) super.getDescriptor();
    }
}

package org.kernelgateway.jenkins;

import edu.umd.cs.findbugs.annotations.NonNull;
import hudson.AbortException;
import hudson.EnvVars;
import hudson.Extension;
import hudson.FilePath;
import hudson.Launcher;
import hudson.Util;
import hudson.model.AbstractProject;
import hudson.model.Item;
import hudson.model.Run;
import hudson.model.TaskListener;
import hudson.tasks.BuildStepDescriptor;
import hudson.tasks.BuildStepMonitor;
import hudson.tasks.Publisher;
import hudson.tasks.Recorder;
import hudson.util.FormValidation;
import java.io.IOException;
import java.util.List;
import jenkins.tasks.SimpleBuildStep;
import org.jenkinsci.Symbol;
import org.kernelgateway.jenkins.model.Paths;
import org.kohsuke.stapler.AncestorInPath;
import org.kohsuke.stapler.DataBoundConstructor;
import org.kohsuke.stapler.DataBoundSetter;
import org.kohsuke.stapler.QueryParameter;
import org.kohsuke.stapler.verb.POST;

/**
 * Shows runs of the kernel-gateway command on the build's page: for pipelines that call it by sh, or by the shared
 * library, which calls this step itself; and as a post-build action for jobs that call it by "Execute shell".
 */
public class KernelResultsRecorder extends Recorder implements SimpleBuildStep {
    private final String dir;
    private boolean archive = true;

    /** @param dir result folders relative to the workspace; may hold * and ** */
    @DataBoundConstructor
    public KernelResultsRecorder(String dir) {
        this.dir = Util.fixEmptyAndTrim(dir) == null ? DescriptorImpl.DEFAULT_DIR : dir.trim();
    }

    public String getDir() {
        return dir;
    }

    public boolean isArchive() {
        return archive;
    }

    @DataBoundSetter
    public void setArchive(boolean archive) {
        this.archive = archive;
    }

    @Override
    public void perform(
            @NonNull Run<?, ?> run,
            @NonNull FilePath workspace,
            @NonNull EnvVars env,
            @NonNull Launcher launcher,
            @NonNull TaskListener listener)
            throws InterruptedException, IOException {
        String problem = Paths.problem(dir);
        if (problem != null) {
            throw new AbortException("kernelResults: dir: " + problem);
        }
        KernelResults results = new KernelResults(run, workspace, env, launcher, listener);
        List<String> directories = results.find(dir);
        if (directories.isEmpty()) {
            listener.getLogger().println("kernelResults: no run.json in " + dir + ".");
        }
        for (String directory : directories) {
            results.publish(directory, archive);
        }
    }

    @Override
    public BuildStepMonitor getRequiredMonitorService() {
        return BuildStepMonitor.NONE;
    }

    @Extension
    @Symbol("kernelResults")
    public static class DescriptorImpl extends BuildStepDescriptor<Publisher> {
        public static final String DEFAULT_DIR = "kernel-runs/*";

        @NonNull
        @Override
        public String getDisplayName() {
            return "Show kernel runs";
        }

        @Override
        public boolean isApplicable(Class<? extends AbstractProject> job) {
            return true;
        }

        @POST
        public FormValidation doCheckDir(@AncestorInPath Item item, @QueryParameter String value) {
            return FormChecks.sound(item, value, Paths::problem);
        }
    }
}
